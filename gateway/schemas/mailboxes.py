"""The bodies of requests about mailboxes."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from gateway.schemas.confirming import Confirmable
from gateway.schemas.fields import Addresses, Body, Line, ModeWord, TimingWord

_ADDITIONS = ("auto_cc", "auto_bcc")
_TEXTS = ("display_name", "signature_block")
MAX_ADDITIONS = 2000


class MailboxSettings(Body):
    """What a mailbox can be told. Null clears a text; for anything else it says nothing."""

    display_name: Annotated[Line, Field(max_length=200)] | None = None
    oversight_mode: ModeWord | None = None
    auto_cc: Addresses = Field(default_factory=list)
    auto_bcc: Addresses = Field(default_factory=list)
    signature_block: Annotated[str, Field(max_length=200)] | None = None
    # 0 and 1 are taken as well.
    forward_inbound: bool | None = None
    ai_disclosure: bool | None = None
    mcp_configured: bool | None = None
    scheduling_enabled: bool | None = None
    allow_looser_per_call: bool | None = None
    default_gate_timing: TimingWord | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.forward_inbound:
            raise ValueError(
                "forward_inbound: this gateway forwards no received mail. Subscribe a webhook to message.received, or "
                "let your mail server send a copy."
            )
        for name in _ADDITIONS:
            if len(", ".join(getattr(self, name))) > MAX_ADDITIONS:
                raise ValueError(f"{name}: at most {MAX_ADDITIONS} characters in all.")
        return self

    def changes(self) -> dict[str, Any]:
        """Return the fields of a mailbox that are to change, and to what; without the oversight mode."""
        said = self.model_dump(include=set(MailboxSettings.model_fields) - {"oversight_mode"}, exclude_unset=True)
        changes = {name: value for name, value in said.items() if value is not None}
        changes |= {name: ", ".join(said[name]) for name in _ADDITIONS if name in said}
        return changes | {name: said[name] or "" for name in _TEXTS if name in said}


class MailboxIn(MailboxSettings, Confirmable):
    """A mailbox to make: a whole address, or the part before the @ of the account's own domain."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"address_local": "outreach", "display_name": "Outreach", "auto_cc": None}}
    )

    address: Annotated[str, Field(max_length=320)] | None = None
    address_local: Annotated[str, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if not self.wanted():
            raise ValueError("address: say which address the mailbox is to have.")
        return self

    def wanted(self) -> str:
        """Return the address, or its local part."""
        return (self.address or self.address_local or "").strip()


class MailboxPatch(MailboxSettings, Confirmable):
    """What to change about a mailbox."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"display_name": "Support", "signature_block": "The support team"}}
    )
