"""The bodies of requests that make or take back a message."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from gateway.letters import Letter, read_files
from gateway.plain_text import text_of_html
from gateway.schemas.fields import (
    MAX_KEY,
    Addresses,
    Body,
    Line,
    Metadata,
    ModeWord,
    Moment,
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
    content_base64: str = ""
    content: str = ""

    def plain(self) -> dict[str, str]:
        """Return the file under one spelling."""
        return {
            "name": self.name or self.filename,
            "content_type": self.content_type,
            "content": self.content_base64 or self.content,
        }


class SendIn(Body):
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
    cc: Addresses = Field(default_factory=list)
    bcc: Addresses = Field(default_factory=list)
    reply_to: OptionalAddress = None
    subject: Subject
    markdown: Text | None = None
    body: Text | None = None
    text: Text | None = None
    html: Text | None = None
    attachments: list[FileIn] | None = None
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

    def names_mailbox(self) -> str:
        """Return the mailbox as the body names it, or an empty text."""
        return self.sender or self.mailbox or self.mailbox_id

    def letter(self, *, header_key: str) -> Letter:
        """Return what is to be sent. Raises Invalid or TooLarge for attachments."""
        text = self._text()
        return Letter(
            to=self.to,
            cc=self.cc,
            bcc=self.bcc,
            reply_to=self.reply_to or "",
            subject=self.subject,
            markdown=text if text is not None else text_of_html(self.html or ""),
            html=self.html or None,
            files=read_files([file.plain() for file in self.attachments or ()]),
            metadata=self.metadata or {},
            mode=self.oversight_mode,
            send_at=self.send_at or self.scheduled_at,
            gate_timing=self.gate_timing,
            idempotency_key=self.idempotency_key or header_key,
        )


class CancelIn(Body):
    """Which message to cancel, where the path does not say."""

    email_id: str = Field("", max_length=64)
    message_id: str = Field("", max_length=64)
    id: str = Field("", max_length=64)

    def names_email(self) -> str:
        """Return the id of the message."""
        return self.email_id or self.message_id or self.id
