"""The bodies of requests that make or take back a message."""

from typing import Annotated, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from gateway.letters import Letter, Parent, check_number, read_files
from gateway.plain_text import text_of_html
from gateway.schemas.fields import (
    MAX_KEY,
    Addresses,
    Body,
    Line,
    Metadata,
    ModeWord,
    Moment,
    NamesEmail,
    OptionalAddress,
    Subject,
    Text,
    TimingWord,
)


class FileIn(Body):
    """One attachment of a request."""

    name: str = ""
    filename: str = ""
    content_type: str = "application/octet-stream"
    content_base64: str | None = None
    content: str | None = None

    def plain(self) -> dict[str, str]:
        """Return the file under one spelling; without `content` where there was none."""
        content = self.content if self.content_base64 is None else self.content_base64
        named = {"name": self.name or self.filename, "content_type": self.content_type}
        return named if content is None else named | {"content": content}


class Composed(Body):
    """What every message of a caller has, whether it is new or answers another."""

    cc: Addresses = Field(default_factory=list)
    bcc: Addresses = Field(default_factory=list)
    reply_to: OptionalAddress = None
    markdown: Text | None = None
    body: Text | None = None
    text: Text | None = None
    html: Text | None = None
    attachments: Annotated[list[FileIn], BeforeValidator(check_number)] | None = None
    metadata: Metadata | None = None
    oversight_mode: ModeWord | None = None
    send_at: Moment | None = None
    scheduled_at: Moment | None = None
    gate_timing: TimingWord | None = None
    idempotency_key: Annotated[Line, Field(max_length=MAX_KEY)] | None = None

    @model_validator(mode="after")
    def _has_body(self) -> Self:
        if not self.html and not (self._text() or "").strip():
            raise ValueError("markdown: the message needs a body.")
        return self

    def _text(self) -> str | None:
        return next((text for text in (self.markdown, self.body, self.text) if text is not None), None)

    def written(self, *, to: list[str], subject: str, header_key: str, parent: Parent | None = None) -> Letter:
        """Return what is to be sent. Raises Invalid or TooLarge for attachments."""
        text = self._text()
        return Letter(
            to=to,
            cc=self.cc,
            bcc=self.bcc,
            reply_to=self.reply_to or "",
            subject=subject,
            markdown=text if text is not None else text_of_html(self.html or ""),
            html=self.html or None,
            files=read_files([file.plain() for file in self.attachments or ()]),
            metadata=self.metadata or {},
            mode=self.oversight_mode,
            send_at=self.send_at or self.scheduled_at,
            gate_timing=self.gate_timing,
            idempotency_key=self.idempotency_key or header_key,
            parent=parent,
        )


class SendIn(Composed):
    """A message to send, in any dialect."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "from": "support@example.com",
                "to": ["jane@example.org"],
                "subject": "Your order",
                "markdown": "Dear Jane,\n\nit is on its way.",
                "metadata": {"discord_user": "ana"},
            }
        }
    )

    sender: str = Field("", alias="from", max_length=320)
    mailbox: str = Field("", max_length=320)
    mailbox_id: str = Field("", max_length=320)
    to: Addresses = Field(min_length=1)
    subject: Subject

    def names_mailbox(self) -> str:
        """Return the mailbox as the body names it, or an empty text."""
        return self.sender or self.mailbox or self.mailbox_id

    def letter(self, *, header_key: str) -> Letter:
        """Return what is to be sent. Raises Invalid or TooLarge for attachments."""
        return self.written(to=self.to, subject=self.subject, header_key=header_key)


class CancelIn(NamesEmail):
    """Which message to cancel, where the path does not say."""

    model_config = ConfigDict(json_schema_extra={"example": {"email_id": "01JD0000000000000000000000"}})

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        if not self.names_email():
            raise ValueError("email_id: say which message.")
        return self
