"""Answers about subscriptions, deliveries and the audit log."""

from typing import Any

from gateway.answers.base import Answer


class WebhookAnswer(Answer):
    """One subscription."""

    id: str
    url: str
    events: list[str]
    mailbox_id: str | None
    sandbox: bool
    include_sandbox: bool
    created_at: str
    is_active: bool
    paused_at: str | None
    last_error: str | None


class WebhookWithSecret(WebhookAnswer):
    """One subscription, and what signs its events."""

    signing_secret: str
    secret: str
    previous_secret_until: str | None


class Webhooks(Answer):
    """All subscriptions, under two names."""

    webhooks: list[WebhookAnswer]
    subscriptions: list[WebhookAnswer]


class Attempt(Answer):
    """How one attempt went."""

    at: str
    response_status: int | None
    error: str | None
    milliseconds: int


class DeliveryAnswer(Answer):
    """One event on its way to one subscription, with its newest attempts."""

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    email_id: str | None
    url: str
    status: str
    attempts: int
    attempt_log: list[Attempt]
    response_status: int | None
    last_error: str | None
    created_at: str
    last_attempt_at: str | None


class Deliveries(Answer):
    """A page of the delivery log."""

    deliveries: list[DeliveryAnswer]
    cursor: str | None


class AuditLog(Answer):
    """A page of the audit log."""

    entries: list[dict[str, Any]]
    cursor: str | None
