"""The body that makes a contact."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from gateway.schemas.fields import Address, Body, Line

MAX_TAGS = 50


def _tags(value: object) -> object:
    """Take an array, a text with commas, or a map of which the names count; as tags come on messages."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value or ()) if isinstance(value, dict) or value is None else value


def _few(tags: list[str]) -> list[str]:
    tags = list(dict.fromkeys(tags))
    if len(tags) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags.")
    return tags


class ContactIn(Body):
    """Somebody to know. Without a name the address is the name."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "Jane Doe", "email": "jane@example.org", "tags": ["customer"]}}
    )

    email: Address
    name: Annotated[Line, Field(max_length=200)] | None = None
    tags: Annotated[
        list[Annotated[Line, Field(min_length=1, max_length=100)]], AfterValidator(_few), BeforeValidator(_tags)
    ] = Field(default_factory=list)
    mailbox: Annotated[str, Field(max_length=320)] | None = None
    mailbox_id: Annotated[str, Field(max_length=320)] | None = None

    def names_mailbox(self) -> str:
        """Return the mailbox that the contact is one of, or an empty text."""
        return self.mailbox or self.mailbox_id or ""
