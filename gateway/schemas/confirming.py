"""The code that a person may have to give before an administrative act is done."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from gateway.schemas.fields import Body


class Confirmable(Body):
    """A request that may have to be repeated with a code."""

    approval_code: Annotated[str | None, Field(max_length=40)] = None

    def act(self) -> dict[str, Any]:
        """Return what is asked for, without the code: a code is good for exactly this."""
        return self.model_dump(mode="json", exclude={"approval_code"}, exclude_unset=True)


class ConfirmIn(Confirmable):
    """A request that names nothing else."""

    model_config = ConfigDict(json_schema_extra={"example": {}})
