"""Routes that send a message, reply to one, and change a scheduled one, in MultiMail's
current dialect and in the flat one.
"""

from datetime import datetime
from typing import Annotated, Any, Self

from annotated_types import MaxLen
from django.http import JsonResponse
from ninja import Router
from pydantic import BeforeValidator, Field, model_validator

from common.ascii import trimmed
from common.unique_keys import Json
from gateway.api.answers import Message, Sent, full_email, review_url
from gateway.api.bodies import (
    MAX_KEY,
    Addresses,
    Body,
    Id,
    Line,
    Metadata,
    ModeWord,
    Moment,
    MustNameEmail,
    NamesEmail,
    NamesMailbox,
    OptionalAddress,
    Subject,
    Text,
    TimingWord,
    example,
    without_nulls,
)
from gateway.api.dialects import first_status, is_flat
from gateway.attachments import check_number, read_files
from gateway.auth import SEND, KeyedRequest
from gateway.errors import Invalid
from gateway.lookups import (
    check_may_read,
    email_named,
    first_or_404,
    mailbox_named,
    mailbox_named_or_only,
    thread_named,
)
from gateway.messages import submission
from gateway.messages.submission import new_email, reply_fields
from gateway.models import Mailbox
from gateway.states import Direction, Status
from parsing.client import from_source

_EXAMPLE_TEXT = "Dear Jane,\n\nit left this morning."
# Characters of a UCAN.
MAX_UCAN = 11_008
# The answer lists at most this many of the changes that simplifying the HTML made.
MOST_WARNINGS = 20
# The fields of a scheduled message that can be changed, and the names of its text.
_CONTENT = {"to", "cc", "bcc", "subject"}
_WRITTEN = {"markdown", "body", "text"}
# The sentences in `message` of the answer.
_HELD = (
    "Held for review: a person decides whether this message is sent. This is not an error. Do not send it again; read "
    "the message, or wait for the webhook, to learn the decision."
)
_LEAVING = "Accepted: this message is sent without review."
_AGAIN = "This idempotency key was used before. This is the message that it created; nothing was sent again."
_MISMATCH = (
    "This idempotency key was used before, for a message with other content. This is that message; the message in this "
    "request was not accepted. Use a new key for each message."
)


class FileIn(Body):
    """One attachment of a request."""

    name: str = ""
    filename: str = ""
    content_type: str = "application/octet-stream"
    content_base64: str | None = None
    content: str | None = None
    content_id: str = ""

    def parts(self) -> tuple[str, str, str | None, str]:
        """Return name, content type, content in base64 or None if it is missing, and
        content id.
        """
        content = self.content if self.content_base64 is None else self.content_base64
        name = self.name or self.filename
        return name, self.content_type, content, self.content_id.strip("<>")


class Composed(Body):
    """The fields that new messages and replies share."""

    cc: Addresses = Field(default_factory=list)
    bcc: Addresses = Field(default_factory=list)
    reply_to: OptionalAddress = None
    markdown: Text | None = None
    body: Text | None = None
    text: Text | None = None
    text_body: Text | None = None
    html: Text | None = None
    attachments: Annotated[list[FileIn], BeforeValidator(check_number)] | None = None
    metadata: Metadata | None = None
    oversight_mode: ModeWord | None = None
    send_at: Moment | None = None
    scheduled_at: Moment | None = None
    gate_timing: TimingWord | None = None
    idempotency_key: Annotated[Line, MaxLen(MAX_KEY)] | None = None
    # What the agent claims that it may do (a UCAN), sent as X-Agent-Identity and not
    # checked.
    ucan: (
        Annotated[str, Field(max_length=MAX_UCAN, pattern=r"^[A-Za-z0-9_.=-]*$")] | None
    ) = None

    @model_validator(mode="after")
    def _has_body(self) -> Self:
        if not self.html and not self.written().strip():
            raise ValueError("markdown: the message needs a body.")
        return self

    def written(self) -> str:
        """Return the text of the body, under whichever name it was given."""
        for text in (self.markdown, self.body, self.text, self.text_body):
            if text is not None:
                return text
        return ""


class SendIn(Composed, NamesMailbox):
    """A message to send, in any dialect."""

    model_config = example(
        {
            "from": "support@example.com",
            "to": ["jane@example.org"],
            "subject": "Your order",
            "markdown": "Dear Jane,\n\nit is on its way.",
            "metadata": {"discord_user": "ana"},
        }
    )

    to: Addresses = Field(min_length=1)
    subject: Subject
    # The id of the message in place of which this one is sent: it takes that message's
    # place in the thread.
    replaces: Id = ""


class CancelIn(MustNameEmail):
    """The message to cancel."""

    model_config = example({"email_id": "01JD0000000000000000000000"})


class ReplyIn(Composed):
    """A reply. Its recipients, its subject and its thread follow from the message that
    it replies to; `to` counts only if that has no address to reply to.
    """

    model_config = example({"markdown": _EXAMPLE_TEXT})

    to: Addresses = Field(default_factory=list)


class ReplyFromIn(ReplyIn, NamesMailbox):
    """A reply that may name the mailbox that sends it."""


class FlatReplyIn(ReplyFromIn, NamesEmail):
    """A reply that names in its body the message, or only the thread, that it replies
    to.
    """

    model_config = example(
        {"thread_id": "01JD0000000000000000000000", "body": _EXAMPLE_TEXT}
    )

    thread_id: Id = ""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.thread_id and not self.names_email():
            raise ValueError("thread_id: give the thread or the message to reply to.")
        return self


class EditIn(Body):
    """What to change; fields that are left out or null stay as they are."""

    model_config = example({"send_at": "2099-01-01T09:00:00Z"})

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
        return without_nulls(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        content = self.content()
        if not self.time() and not content:
            raise ValueError(
                "send_at: give at least one of send_at, to, cc, bcc, subject or markdown to change."
            )
        if content.get("to") == []:
            raise ValueError("to: the message needs a recipient.")
        if not content.get("markdown", "x").strip():
            raise ValueError("markdown: the message needs a body.")
        return self

    def time(self) -> datetime | None:
        """Return the new time to send at; None: it stays."""
        return self.send_at or self.scheduled_at

    def content(self) -> Json:
        """Return the fields of the message to change, with their new values."""
        content = self.model_dump(include=_CONTENT, exclude_unset=True)
        # The text may be given under several names; the first counts.
        if written := self.model_dump(include=_WRITTEN, exclude_unset=True):
            content["markdown"] = next(iter(written.values()))
        return content


def accept(
    request: KeyedRequest, mailbox: Mailbox, body: Composed, fields: Json
) -> JsonResponse:
    """Store a message and build the answer. Raises Invalid or
    TooLarge.

    `fields` are its recipients and its subject, and those that put it into a thread.
    """
    header_key = trimmed(request.headers.get("Idempotency-Key", ""))
    if len(header_key) > MAX_KEY:
        raise Invalid(
            f"Idempotency-Key: at most {MAX_KEY} characters.", field="idempotency_key"
        )
    key = request.auth
    files = read_files([file.parts() for file in body.attachments or ()])
    send_at = body.send_at or body.scheduled_at
    timing = body.gate_timing or mailbox.default_gate_timing
    email = new_email(
        key,
        mailbox,
        **fields,
        cc=body.cc,
        bcc=body.bcc,
        reply_to=body.reply_to or "",
        markdown=body.written(),
        html=body.html or None,
        has_attachments=bool(files),
        metadata=body.metadata or {},
        send_at=send_at,
        gate_timing=timing if send_at else "",
        agent_identity=body.ucan or "",
    )
    with from_source(f"key {key.pk}", stays=True):
        submission.simplify(email)
    asked_mode = body.oversight_mode
    accepted = submission.accept_email(
        key,
        email,
        files=files,
        asked=asked_mode,
        idempotency_key=body.idempotency_key or header_key,
        is_reply=isinstance(body, ReplyIn),
    )
    email = accepted.email
    # The first status, whatever came of it at once.
    is_held = email.gated and not accepted.repeated
    status = first_status(request, body.model_fields_set, is_held=is_held)
    if accepted.repeated and not is_flat(request):
        status = "already_sent" if email.status == Status.SENT else email.status
    result: Json = {
        **email.ids(),
        "thread_id": email.thread_id,
        "mailbox_id": email.mailbox_id,
        "status": status,
        "oversight_status": "pending_approval" if email.gated else "not_required",
        "oversight_mode": email.oversight_mode,
        "message": _HELD if email.gated else _LEAVING,
        **review_url(email),
    }
    if accepted.repeated:
        result |= {"idempotent": True, "message": _AGAIN}
        if accepted.mismatch:
            result |= {"idempotency_mismatch": True, "message": _MISMATCH}
        result["current"] = email.outcome()
    if not accepted.mismatch and asked_mode not in (None, email.oversight_mode):
        result["requested_oversight_mode"] = asked_mode
        result["message"] += (
            f" The call asked for oversight_mode {asked_mode}, but {email.oversight_mode} applies: a call may only be "
            f"stricter than its mailbox. POST /v1/mailboxes/{mailbox.address}/request-upgrade requests a looser mode."
        )
    if accepted.repeated:
        return JsonResponse(result)
    if unlisted := accepted.unlisted:
        others = f" and {len(unlisted) - 1} more" if unlisted[1:] else ""
        result["message"] += (
            f" Not on the mailbox's allowlist: {unlisted[0]}{others}. One recipient outside it makes the whole "
            f"message wait; POST /v1/mailboxes/{mailbox.address}/allowlist asks an operator to add one."
        )
    if email.simplified:
        result["warnings"] = email.simplified[:MOST_WARNINGS]
    return JsonResponse(result, status=202)


router = Router(tags=["send"], auth=SEND)
SENT = {202: Sent, 200: Sent}


@router.post("/mailboxes/{mailbox}/send", response=SENT)
def send(request: KeyedRequest, mailbox: str, body: SendIn) -> JsonResponse:
    """Send a message from a mailbox. Gated mailboxes hold it for review."""
    return _new(request, mailbox_named(request.auth, mailbox), body)


def send_flat(request: KeyedRequest, body: SendIn) -> JsonResponse:
    """Send a message; `from` names the mailbox. The status is `queued` for every
    accepted message.
    """
    mailbox = mailbox_named_or_only(request.auth, body.names_mailbox())
    return _new(request, mailbox, body)


def _new(request: KeyedRequest, mailbox: Mailbox, body: SendIn) -> JsonResponse:
    fields: Json = {"to": body.to, "subject": body.subject}
    if body.replaces:
        replaced = email_named(request.auth, body.replaces, mailbox)
        if replaced.direction != Direction.OUTBOUND:
            raise Invalid("replaces: is no message that this mailbox sends.")
        fields |= {
            "thread_id": replaced.thread_id,
            "in_reply_to": replaced.in_reply_to,
            "references": replaced.references,
        }
    return accept(request, mailbox, body, fields)


@router.post("/mailboxes/{mailbox}/reply/{email}", response=SENT)
def reply(
    request: KeyedRequest, mailbox: str, email: str, body: ReplyIn
) -> JsonResponse:
    """Reply to a message's author, or to its recipients if it is one of our own. Gated
    mailboxes hold the reply for review.
    """
    box = mailbox_named(request.auth, mailbox)
    parent = email_named(request.auth, email, box)
    check_may_read(request.auth, parent)
    return accept(request, box, body, reply_fields(parent, body.to))


def reply_flat(request: KeyedRequest, body: FlatReplyIn) -> JsonResponse:
    """Reply to a message, or to the newest one received in a thread. The status is
    `queued` for every accepted message.
    """
    return reply_to(request, body.names_email(), body, thread_id=body.thread_id)


def reply_to(
    request: KeyedRequest, email: str, body: ReplyFromIn, *, thread_id: str = ""
) -> JsonResponse:
    """Reply to the message with this id, or without an id to the newest one received in
    the thread.
    """
    key = request.auth
    named = body.names_mailbox()
    box = mailbox_named(key, named) if named else None
    if email:
        parent = email_named(key, email, box)
        if thread_id and parent.thread_id != thread_id:
            raise Invalid("thread_id: is not the thread of the given message.")
    else:
        emails = thread_named(key, thread_id, box)
        parent = emails.received().first() or first_or_404(
            emails, "thread", "unknown_thread"
        )
    check_may_read(key, parent)
    box = mailbox_named(key, parent.mailbox_id)
    return accept(request, box, body, reply_fields(parent, body.to))


@router.patch("/mailboxes/{mailbox}/emails/{email}/schedule", response=Message)
def edit_scheduled(
    request: KeyedRequest, mailbox: str, email: str, body: EditIn
) -> Json:
    """Change a scheduled message. If it is approved, only its time can be changed."""
    key = request.auth
    box = mailbox_named(key, mailbox)
    found = email_named(key, email, box)
    with from_source(f"key {key.pk}", stays=True):
        submission.edit_scheduled(key, found, body.time(), body.content())
    return full_email(email_named(key, email, box), "markdown")
