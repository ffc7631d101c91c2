"""The gateway's periodic sweep: enqueues due rows whose wake-up was lost, and finishes what a crash interrupted.

A duty that fails is logged; the others are done all the same.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from django.conf import settings

from common.enqueue import enqueue, has_enough_to_do
from gateway import limits
from gateway.accounts import signup
from gateway.messages import decisions, outbox, submission
from gateway.models import Email, IdempotencyRecord, Webhook, WebhookDelivery
from gateway.webhooks import endpoints, subscriptions

log = logging.getLogger(__name__)

# How many rows one sweep enqueues or clears; the next one comes in seconds.
BATCH = 200
_SEND = "gateway.tasks.send_email"
_DELIVER, _DRAIN = "gateway.tasks.deliver_webhook", "gateway.tasks.drain_webhook"


def sweep(*, now: datetime) -> str:
    """Do every duty once; returns what each of them found."""
    found = {name: _do(name, duty, now) for name, duty in _DUTIES.items()}
    return ", ".join(f"{number} {name}" for name, number in found.items() if number)


def _do(name: str, duty: Callable[[datetime], int], now: datetime) -> int:
    try:
        return duty(now)
    except Exception:
        # Due messages and events must not wait for a duty that fails.
        log.exception("duty of the sweep failed", extra={"duty": name})
        return 0


def _close(now: datetime) -> int:
    decisions.cancel_in_closed_mailboxes(now=now)
    return 0


def _move_on(now: datetime) -> int:
    return sum(_moved_on(email, now) for email in Email.objects.stuck_before_scan().with_mailbox()[:BATCH])


def _moved_on(email: Email, now: datetime) -> bool:
    # One at a time: a message that fails must not stop the others.
    return bool(_do(f"moving on {email.pk}", lambda now: int(submission.move_on(email=email, now=now)), now))


def _enqueue_emails(now: datetime) -> int:
    if has_enough_to_do(_SEND):
        return 0
    outbox_now = Email.objects.in_outbox()
    if not settings.EMAIL_URL:
        # Without a mail server live mail waits; sandbox mail needs none.
        outbox_now = outbox_now.filter(sandbox=True)
    due = list(outbox_now.order_by("due_at").values_list("pk", flat=True)[:BATCH])
    for email_id in due:
        enqueue(_SEND, email_id)
    return len(due)


def _enqueue_deliveries(now: datetime) -> int:
    if has_enough_to_do(_DELIVER):
        return 0
    due = WebhookDelivery.objects.in_turn(BATCH)
    for delivery_id, has_more_behind in due:
        enqueue(_DRAIN if has_more_behind else _DELIVER, delivery_id)
    return len(due)


def _probe(now: datetime) -> int:
    """Try paused endpoints whose time has come."""
    due = list(Webhook.objects.to_probe().values_list("pk", flat=True)[:BATCH])
    for webhook_id in due:
        enqueue("gateway.tasks.probe_webhook", webhook_id)
    return len(due)


def _clear(now: datetime) -> int:
    """Delete expired secrets, idempotency records and old deliveries."""
    subscriptions.clear_previous_secrets()
    keys = IdempotencyRecord.objects.expired().delete()[0]
    return keys + WebhookDelivery.objects.past_retention(BATCH).delete()[0]


_DUTIES: dict[str, Callable[[datetime], int]] = {
    "closed": _close,
    "moved on": _move_on,
    "lost": lambda now: outbox.settle_lost(now=now),
    "emails": _enqueue_emails,
    "deliveries": _enqueue_deliveries,
    "probes": _probe,
    "given up": lambda now: endpoints.give_up_waiting(),
    "cleared": _clear,
    "calls": lambda now: limits.write_down_calls(),
    "sign-ups": lambda now: signup.enqueue_unmailed(now),
}
