"""The body of a decision."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from gateway.schemas.fields import Body, Line, NamesEmail

_ACTIONS = {"approve": "approved", "approved": "approved", "reject": "rejected", "rejected": "rejected"}


class Verdict(Body):
    """A decision about a message that the path names."""

    model_config = ConfigDict(json_schema_extra={"example": {"decision": "approve"}})

    action: str = ""
    decision: str = ""
    reason: Annotated[str, Field(max_length=2000)] | None = None
    # Whom the client names as the person behind the key; the audit log keeps the key.
    decided_by: Annotated[Line, Field(max_length=200)] | None = None
    expected_fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        words = {_ACTIONS.get(word.strip().lower(), "") for word in (self.action, self.decision) if word}
        if len(words) != 1 or words == {""}:
            raise ValueError("action: must be approve or reject.")
        return self

    def outcome(self) -> str:
        """Return `approved` or `rejected`."""
        return _ACTIONS[(self.action or self.decision).strip().lower()]


class DecideIn(Verdict, NamesEmail):
    """A decision about a held message, in any dialect."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"email_id": "01JD0000000000000000000000", "action": "approve"}}
    )

    @model_validator(mode="after")
    def _names_message(self) -> Self:
        if not self.names_email():
            raise ValueError("email_id: say which message.")
        return self
