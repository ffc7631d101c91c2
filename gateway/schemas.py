"""The bodies of requests: every spelling that MultiMail's clients use, read into one shape.

Unknown fields are ignored. Addresses, times and header text are checked here, so that what is stored is sound.
"""

import json
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.addresses import clean_address, clean_addresses
from gateway.header_text import check_header_text
from gateway.letters import Letter, read_files
from gateway.modes import GateTiming, Mode
from gateway.plain_text import text_of_html
from gateway.timestamps import parse_iso

MAX_RECIPIENTS = 50
MAX_SUBJECT = 998
MAX_BODY = 262_144
MAX_METADATA_BYTES = 16 * 1024
MAX_KEY = 200


def _few(addresses: list[str]) -> list[str]:
    if len(addresses) > MAX_RECIPIENTS:
        raise ValueError(f"at most {MAX_RECIPIENTS} addresses.")
    return addresses


def _short_subject(subject: str) -> str:
    if len(subject) > MAX_SUBJECT:
        raise ValueError(f"at most {MAX_SUBJECT} characters, and it has {len(subject)}.")
    return subject


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value)) > MAX_METADATA_BYTES:
        raise ValueError("must not be larger than 16 kB.")
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a time in UTC such as 2026-11-20T08:15:00Z.")
    return parse_iso(value)


def _none_as_empty(value: object) -> object:
    return [] if value is None else value


Addresses = Annotated[
    list[str], AfterValidator(_few), BeforeValidator(clean_addresses), BeforeValidator(_none_as_empty)
]
Address = Annotated[str, AfterValidator(clean_address), Field(max_length=320)]
OptionalAddress = Annotated[Address | None, BeforeValidator(lambda value: value or None)]
Line = Annotated[str, AfterValidator(check_header_text)]
Text = Annotated[str, Field(max_length=MAX_BODY)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Moment = Annotated[datetime, BeforeValidator(_time)]
ModeWord = Annotated[Mode, BeforeValidator(_lower)]
TimingWord = Annotated[GateTiming, BeforeValidator(_lower)]


class Body(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)


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
    subject: Annotated[Line, AfterValidator(_short_subject)]
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


_ACTIONS = {"approve": "approved", "approved": "approved", "reject": "rejected", "rejected": "rejected"}


class DecideIn(Body):
    """A decision about a held message, in any dialect."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"email_id": "01JD0000000000000000000000", "action": "approve"}}
    )

    email_id: str = Field("", max_length=64)
    message_id: str = Field("", max_length=64)
    id: str = Field("", max_length=64)
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

    def names_email(self) -> str:
        """Return the id of the message."""
        return self.email_id or self.message_id or self.id

    def outcome(self) -> str:
        """Return `approved` or `rejected`."""
        return _ACTIONS[(self.action or self.decision).strip().lower()]


class CancelIn(Body):
    """Which message to cancel, where the path does not say."""

    email_id: str = Field("", max_length=64)
    message_id: str = Field("", max_length=64)
    id: str = Field("", max_length=64)

    def names_email(self) -> str:
        """Return the id of the message."""
        return self.email_id or self.message_id or self.id


class WebhookIn(Body):
    """A subscription to make."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"url": "https://example.com/hook", "events": ["oversight.pending"]}}
    )

    url: Annotated[Line, Field(min_length=1, max_length=2000)]
    events: Annotated[list[str], Field(min_length=1, max_length=40)]
    mailbox_id: str | None = Field(None, max_length=320)
    secret: Annotated[str, Field(min_length=8, max_length=200)] | None = None
