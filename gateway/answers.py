"""What answers look like, for the OpenAPI document. Handlers build plain objects; more keys than these may appear."""

from typing import Any

from django.http import JsonResponse
from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of all documented answers."""

    model_config = ConfigDict(extra="allow")


class Problem(Answer):
    """Every error of every route."""

    error: str
    code: str


class Sent(Answer):
    """A message was accepted, or had been before."""

    id: str
    email_id: str
    message_id: str
    thread_id: str
    status: str
    oversight_status: str
    message: str


class Message(Answer):
    """One email."""

    id: str
    mailbox_id: str
    direction: str
    to_addresses: list[str]
    subject: str
    status: str
    thread_id: str
    received_at: str


class Messages(Answer):
    """A page of emails."""

    emails: list[Message]
    cursor: str | None


class PendingMessages(Answer):
    """Held emails: the same list under three names."""

    pending: list[Message]
    emails: list[Message]
    messages: list[Message]
    count: int
    cursor: str | None


class Decided(Answer):
    """A decision was taken."""

    id: str
    status: str
    decision: str
    action: str
    reason: str | None
    decided_at: str
    decided_by: str
    message: str


class Changed(Answer):
    """Something changed its status."""

    id: str
    status: str


class MailboxAnswer(Answer):
    """One mailbox."""

    id: str
    address: str
    display_name: str
    oversight_mode: str


class Mailboxes(Answer):
    """All mailboxes of a key."""

    mailboxes: list[MailboxAnswer]


class AccountAnswer(Answer):
    """The account, and what the calling key may do."""

    id: str
    scopes: list[str]
    mailboxes: list[dict[str, Any]]


class WebhookAnswer(Answer):
    """One subscription."""

    id: str
    url: str
    events: list[str]
    mailbox_id: str | None
    created_at: str


class Webhooks(Answer):
    """All subscriptions, under two names."""

    webhooks: list[WebhookAnswer]
    subscriptions: list[WebhookAnswer]


class DeliveryAnswer(Answer):
    """One event on its way to one subscription."""

    id: str
    event_type: str
    url: str
    status: str
    attempts: int


class Deliveries(Answer):
    """A page of the delivery log."""

    deliveries: list[DeliveryAnswer]
    cursor: str | None


class AuditLog(Answer):
    """A page of the audit log."""

    entries: list[dict[str, Any]]
    cursor: str | None


class Health(Answer):
    """Whether the gateway works."""

    status: str
    software: str


def documented(ok: type[Answer], *, status: int = 200, also: tuple[int, ...] = ()) -> dict[int, Any]:
    """Return the `response` of a route: its good answers, and an error for every status that it can give."""
    errors = dict.fromkeys((400, 401, 403, 404, 409, 413, 422, 503), Problem)
    return {status: ok, **dict.fromkeys(also, ok), **errors}


def answer(body: dict[str, Any], *, status: int = 200) -> JsonResponse:
    """Return a JSON answer. The body is ours and needs no second validation."""
    return JsonResponse(body, status=status)
