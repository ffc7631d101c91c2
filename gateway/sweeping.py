"""The gateway's periodic sweep: sends tasks for due rows, in case a task was lost, and
finishes what a crash interrupted.
"""

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from common.sweeps import Duty, do_all, duty
from gateway import tasks
from gateway.messages import decisions, outbox
from gateway.models import Email, IdempotencyRecord, Notice, Webhook, WebhookDelivery
from gateway.webhooks import deliveries

# How many rows of a kind one sweep sends tasks for or clears; the next sweep comes in
# seconds.
BATCH = 200


def sweep() -> str:
    """Do every duty that has something to do. Returns how much each did, such as "2
    emails, 1 lost".
    """
    events = WebhookDelivery.objects
    records = IdempotencyRecord.objects
    duties: dict[str, Duty] = {
        # Cancels mail that waits in closed mailboxes.
        "closed": decisions.cancel_in_closed_mailboxes,
        # Writes off mail whose worker died while sending it.
        "lost": outbox.settle_lost,
        # Due emails, notices and webhook deliveries, in case their task was lost.
        "emails": _send_emails,
        "notices": lambda: (
            settings.EMAIL_URL
            and _send(tasks.send_notice, Notice.objects.due().order_by("due_at"))
        ),
        "deliveries": duty(
            lambda: events.due().order_by("next_attempt_at"),
            lambda _: _send(tasks.deliver_webhook, events.in_turn()),
        ),
        # Tries paused webhook endpoints again.
        "probes": lambda: _send(tasks.probe_webhook, Webhook.objects.to_probe()),
        # Fails deliveries that waited too long for a paused endpoint.
        "given up": duty(
            lambda: events.waiting_too_long().order_by("next_attempt_at"),
            lambda _: deliveries.give_up_waiting(),
        ),
        # Clears what is not needed any more.
        "old secrets": duty(
            Webhook.objects.after_overlap,
            lambda _: Webhook.objects.after_overlap().update(
                previous_secret="", previous_until=None
            ),
        ),
        "old keys": duty(
            lambda: records.filter(expires_at__lte=Now()).order_by("expires_at"),
            lambda keys: records.filter(pk__in=keys).delete()[0],
            most=10_000,
        ),
        "old deliveries": duty(
            lambda: events.past_retention(BATCH),
            lambda keys: events.filter(pk__in=keys).delete()[0],
            most=None,
        ),
    }
    return ", ".join(f"{number} {name}" for name, number in do_all(duties).done.items())


def _send_emails() -> int:
    due = Email.objects.in_outbox().order_by("due_at")
    if not settings.EMAIL_URL:
        # Without a mail server live mail waits, and says so; sandbox mail needs none.
        live = due.filter(sandbox=False).exclude(last_error=outbox.NO_MAIL_SERVER)
        if live.exists():
            live.update(last_error=outbox.NO_MAIL_SERVER)
        due = due.filter(sandbox=True)
    return _send(tasks.send_email, due)


def _send(task: Any, rows: QuerySet[Any]) -> int:
    # Sends the task for the first rows; returns how many.
    keys = list(rows.values_list("pk", flat=True)[:BATCH])
    task.delay_each(keys)
    return len(keys)
