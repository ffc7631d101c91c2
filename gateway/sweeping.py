"""The gateway's periodic sweep: sends tasks for due rows, and finishes what a crash interrupted."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from common.sweeps import Duty, do_all, duty
from gateway import limits, tasks
from gateway.messages import decisions, outbox, submission
from gateway.models import Email, IdempotencyRecord, Notice, Webhook, WebhookDelivery
from gateway.webhooks import endpoints, subscriptions

log = logging.getLogger(__name__)

# How many rows one sweep sends tasks for, or clears; the next one comes in seconds.
BATCH = 200


def sweep(*, now: datetime) -> str:
    """Do every duty that has something to do; returns what each of them found."""
    emails, webhooks, deliveries = Email.objects, Webhook.objects, WebhookDelivery.objects
    duties = {
        "closed": lambda: decisions.cancel_in_closed_mailboxes(now=now),
        "moved on": lambda: _move_on(now),
        "lost": _where(lambda: emails.lost().order_by("due_at"), outbox.settle_lost),
        "emails": _send_emails,
        "notices": _send_notices,
        "deliveries": _where(lambda: deliveries.due().order_by("next_attempt_at"), _send_deliveries),
        "probes": _probe,
        "given up": _where(
            lambda: deliveries.waiting_too_long().order_by("next_attempt_at"), endpoints.give_up_waiting
        ),
        "old secrets": _where(webhooks.after_overlap, subscriptions.clear_previous_secrets),
        "old keys": _where(lambda: IdempotencyRecord.objects.expired().order_by("expires_at"), _clear_keys),
        "old deliveries": _where(lambda: deliveries.past_retention(BATCH), _clear_deliveries),
        # These are counted in Redis.
        "calls": limits.write_down_calls,
    }
    return ", ".join(f"{number} {name}" for name, number in do_all(duties).done.items())


def _where(rows: Callable[[], QuerySet[Any]], do: Callable[[], object]) -> Duty:
    """Do this where any of these rows is there."""
    return duty(rows, lambda _: do())


def _move_on(now: datetime) -> int:
    return sum(_moved_on(email, now) for email in Email.objects.stuck_before_scan().with_mailbox()[:BATCH])


def _moved_on(email: Email, now: datetime) -> bool:
    # One at a time: a message that fails must not stop the others.
    try:
        return submission.move_on(email=email, now=now)
    except Exception:
        log.exception("email not moved on", extra={"email": email.pk})
        return False


def _send_emails() -> int:
    due = Email.objects.in_outbox().order_by("due_at")
    if not settings.EMAIL_URL:
        # Without a mail server live mail waits; sandbox mail needs none.
        due = due.filter(sandbox=True)
    return _send(tasks.send_email, due)


def _send_notices() -> int:
    return _send(tasks.send_notice, Notice.objects.due().order_by("due_at")) if settings.EMAIL_URL else 0


def _send_deliveries() -> int:
    if tasks.deliver_webhook.has_enough_to_do():
        return 0
    due = WebhookDelivery.objects.in_turn(BATCH)
    for delivery_id, has_more_behind in due:
        task = tasks.drain_webhook if has_more_behind else tasks.deliver_webhook
        task.delay_on_commit(delivery_id)
    return len(due)


def _probe() -> int:
    """Try paused endpoints whose time has come."""
    return _send(tasks.probe_webhook, Webhook.objects.to_probe())


def _send(task: Any, rows: QuerySet[Any]) -> int:
    keys = list(rows.values_list("pk", flat=True)[:BATCH])
    task.delay_each(keys)
    return len(keys)


def _clear_keys() -> int:
    return IdempotencyRecord.objects.expired().delete()[0]


def _clear_deliveries() -> int:
    return WebhookDelivery.objects.past_retention(BATCH).delete()[0]
