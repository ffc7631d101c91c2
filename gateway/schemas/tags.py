"""The bodies of requests about tags."""

from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, model_validator

from gateway.schemas.fields import Body, NamesEmail
from gateway.tagging import read_tags

Tags = Annotated[dict[str, str], BeforeValidator(read_tags)]


class TagsIn(Body):
    """Tags to add or to overwrite: an object, or words."""

    model_config = ConfigDict(json_schema_extra={"example": {"tags": {"priority": "high"}}})

    tags: Tags


class FlatTagsIn(NamesEmail):
    """Tags to add to the message that the body names."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"id": "01JD0000000000000000000000", "tags": ["follow-up"]}}
    )

    tags: Tags

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        if not self.names_email():
            raise ValueError("id: say which message.")
        return self
