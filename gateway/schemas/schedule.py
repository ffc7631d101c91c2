"""The body of a change to a scheduled message."""

from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from gateway.reschedule import Edit
from gateway.schemas.fields import Addresses, Body, Moment, Subject, Text

_CONTENT = ("to", "cc", "bcc", "subject", "markdown")


class EditIn(Body):
    """What to change; what is left out, or null, stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"send_at": "2099-01-01T09:00:00Z"}})

    send_at: Moment | None = None
    scheduled_at: Moment | None = None
    to: Addresses = Field(default_factory=list)
    cc: Addresses = Field(default_factory=list)
    bcc: Addresses = Field(default_factory=list)
    subject: Subject = ""
    markdown: Text = ""
    body: Text = ""
    text: Text = ""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return {name: part for name, part in value.items() if part is not None} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        edit = self.edit()
        if edit.send_at is None and not edit.content:
            raise ValueError("send_at: say what to change: send_at, to, cc, bcc, subject or markdown.")
        if edit.content.get("to") == []:
            raise ValueError("to: the message needs a recipient.")
        if not edit.content.get("markdown", "x").strip():
            raise ValueError("markdown: the message needs a body.")
        return self

    def edit(self) -> Edit:
        """Return what is to be changed."""
        content = {name: getattr(self, name) for name in _CONTENT if name in self.model_fields_set}
        spelled = next((name for name in ("markdown", "body", "text") if name in self.model_fields_set), None)
        if spelled:
            content["markdown"] = getattr(self, spelled)
        return Edit(send_at=self.send_at or self.scheduled_at, content=content)
