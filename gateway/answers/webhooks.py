"""Answers about subscriptions, deliveries and the audit log."""

from typing import Any

from gateway.answers.base import Answer


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
