"""The gateway's periodic sweep: enqueues due rows whose wake-up was lost, and finishes what a crash interrupted."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from common.enqueue import enqueue, has_enough_to_do
from common.postgres.statements import ValueQuery
from common.sweeps import Duty, Sweep, duty
from gateway import limits
from gateway.messages import decisions, outbox, submission
from gateway.models import Email, IdempotencyRecord, Mailbox, Notice, Webhook, WebhookDelivery
from gateway.webhooks import endpoints, subscriptions

log = logging.getLogger(__name__)

# How many rows one sweep enqueues or clears; the next one comes in seconds.
BATCH = 200
_SEND = "gateway.tasks.send_email"
_DELIVER, _DRAIN = "gateway.tasks.deliver_webhook", "gateway.tasks.drain_webhook"


def sweep(*, now: datetime) -> str:
    """Do every duty that has something to do; returns what each of them found."""
    found = _SWEEP.run(now=now).done
    return ", ".join(f"{number} {name}" for name, number in found.items() if number)


def _close(now: datetime) -> int:
    decisions.cancel_in_closed_mailboxes(now=now)
    return 0


def _move_on(now: datetime) -> int:
    return sum(_moved_on(email, now) for email in Email.objects.stuck_before_scan().with_mailbox()[:BATCH])


def _moved_on(email: Email, now: datetime) -> bool:
    # One at a time: a message that fails must not stop the others.
    try:
        return submission.move_on(email=email, now=now)
    except Exception:
        log.exception("email not moved on", extra={"email": email.pk})
        return False


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


def _enqueue_notices(now: datetime) -> int:
    due = (
        list(Notice.objects.due().order_by("due_at").values_list("pk", flat=True)[:BATCH]) if settings.EMAIL_URL else []
    )
    for notice_id in due:
        enqueue("gateway.tasks.send_notice", notice_id)
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


def _clear_keys(now: datetime) -> int:
    return IdempotencyRecord.objects.expired().delete()[0]


def _clear_deliveries(now: datetime) -> int:
    return WebhookDelivery.objects.past_retention(BATCH).delete()[0]


def _where(rows: Callable[[], QuerySet[Any]], do: Callable[[datetime], int]) -> Duty:
    """Do this where any of these rows is there."""
    return duty(rows, lambda _, now: do(now))


_SWEEP = Sweep(
    {
        "closed": _where(Mailbox.objects.closed, _close),
        "moved on": _where(Email.objects.stuck_before_scan, _move_on),
        "lost": _where(lambda: Email.objects.lost().order_by("due_at"), lambda now: outbox.settle_lost()),
        "emails": _where(lambda: Email.objects.in_outbox().order_by("due_at"), _enqueue_emails),
        "notices": _where(lambda: Notice.objects.due().order_by("due_at"), _enqueue_notices),
        "deliveries": _where(lambda: WebhookDelivery.objects.due().order_by("next_attempt_at"), _enqueue_deliveries),
        "probes": _where(Webhook.objects.to_probe, _probe),
        "given up": _where(
            lambda: WebhookDelivery.objects.waiting_too_long().order_by("next_attempt_at"),
            lambda _: endpoints.give_up_waiting(),
        ),
        "old secrets": _where(Webhook.objects.after_overlap, lambda _: subscriptions.clear_previous_secrets()),
        "old keys": _where(lambda: IdempotencyRecord.objects.expired().order_by("expires_at"), _clear_keys),
        "old deliveries": _where(lambda: WebhookDelivery.objects.past_retention(BATCH), _clear_deliveries),
        # These are counted in Redis.
        "calls": Duty(lambda: ValueQuery("true"), lambda _, now: limits.write_down_calls()),
    }
)
