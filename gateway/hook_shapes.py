"""Subscriptions, deliveries and audit entries as answers show them. Secrets are shown only by `with_secret`."""

from typing import Any

from gateway.models import AuditLogEntry, Webhook, WebhookDelivery
from gateway.timestamps import iso
from outgoing.models import Delivery

# The published words, and the states that they stand for.
STATUS_WORDS = {
    "pending": (Delivery.State.DUE, Delivery.State.SENDING),
    "delivered": (Delivery.State.DELIVERED,),
    "failed": (Delivery.State.FAILED,),
}
_WORD_OF = {state: word for word, states in STATUS_WORDS.items() for state in states}


def webhook(row: Webhook) -> dict[str, Any]:
    """Return a subscription without its secret."""
    return {
        "id": row.pk,
        "url": row.url,
        "events": row.events,
        "mailbox_id": row.mailbox_id,
        "sandbox": row.sandbox,
        "include_sandbox": row.include_sandbox,
        "created_at": iso(row.created_at),
        "is_active": row.paused_at is None,
        "paused_at": iso(row.paused_at),
        "last_error": row.last_error or None,
        "failures": row.failures,
    }


def with_secret(row: Webhook) -> dict[str, Any]:
    """Return a subscription with the secret that signs, or will when the overlap of a rotation is over."""
    overlap = iso(row.previous_until) if row.previous_secret else None
    return webhook(row) | {"signing_secret": row.secret, "secret": row.secret, "previous_secret_until": overlap}


def delivery(row: WebhookDelivery) -> dict[str, Any]:
    """Return a delivery with how its newest attempts went."""
    return {
        "id": str(row.pk),
        "webhook_id": row.webhook_id,
        "event_id": row.event_id,
        "event_type": row.event,
        "email_id": row.email_id,
        "sandbox": row.email.sandbox if row.email else False,
        "url": row.webhook.url,
        "status": _WORD_OF[Delivery.State(row.state)],
        "attempts": row.attempts,
        "attempt_log": row.history,
        "response_status": row.response_status,
        "last_error": row.last_error or None,
        "created_at": iso(row.created_at),
        "last_attempt_at": iso(row.last_attempt_at),
        "next_attempt_at": iso(row.next_attempt_at) if _may_be_tried(row) else None,
    }


def entry(row: AuditLogEntry) -> dict[str, Any]:
    """Return one line of the audit log."""
    return {
        "id": row.pk,
        "action": row.action,
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "actor_key_id": row.actor_key_id,
        "metadata": row.metadata,
        "created_at": iso(row.created_at),
    }


def _may_be_tried(row: WebhookDelivery) -> bool:
    return row.state == Delivery.State.DUE and row.webhook.paused_at is None
