"""The body of a change to the account."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from gateway.schemas.confirming import Confirmable
from gateway.schemas.fields import Line, OptionalAddress

_CLEARABLE = ("oversight_email", "physical_address")


class AccountPatch(Confirmable):
    """What to change. Null clears the address of the overseer and the postal one."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Acme", "oversight_email": "boss@example.com"}})

    name: Annotated[Line, Field(min_length=1, max_length=200)] | None = None
    oversight_email: OptionalAddress = None
    physical_address: Annotated[str, Field(max_length=300)] | None = None
    hold_all: bool | None = None

    def changes(self) -> dict[str, Any]:
        """Return the fields of the account that are to change, and to what."""
        said = self.model_dump(include={"name", *_CLEARABLE}, exclude_unset=True)
        changes = {name: value for name, value in said.items() if value is not None}
        return changes | {name: said[name] or "" for name in _CLEARABLE if name in said}
