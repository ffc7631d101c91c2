"""The body of a decision."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from gateway.schemas.fields import NamesEmail

_ACTIONS = {"approve": "approved", "approved": "approved", "reject": "rejected", "rejected": "rejected"}


class DecideIn(NamesEmail):
    """A decision about a held message, in any dialect."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"email_id": "01JD0000000000000000000000", "action": "approve"}}
    )

    action: str = ""
    decision: str = ""
    reason: Annotated[str, Field(max_length=2000)] | None = None
    expected_fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        if not self.names_email():
            raise ValueError("email_id: say which message.")
        words = {_ACTIONS.get(word.strip().lower(), "") for word in (self.action, self.decision) if word}
        if len(words) != 1 or words == {""}:
            raise ValueError("action: must be approve or reject.")
        return self

    def outcome(self) -> str:
        """Return `approved` or `rejected`."""
        return _ACTIONS[(self.action or self.decision).strip().lower()]
