"""Celery's part: nudges that carry an id, and the sweep that finds the rows nobody nudged. No logic of its own."""

from celery import shared_task
from django.utils import timezone

from gateway import closing, compose, deliver, endpoints, hooks, outbox, usage
from gateway.models import Email, IdempotencyRecord, Webhook, WebhookDelivery

# How many rows one sweep nudges; the next one comes in seconds.
_BATCH = 200


# Longer than all time limits of one attempt together (smtp.py); a mail server that stalls is no reason to kill.
@shared_task(soft_time_limit=170, time_limit=175)
def send_email(email_id: str) -> str:
    """Make one attempt at one email."""
    return outbox.send_due(email_id=email_id, now=timezone.now())


@shared_task
def deliver_webhook(delivery_id: int) -> str:
    """Make one attempt at one webhook delivery, and nudge the one behind it."""
    following = deliver.deliver(delivery_id=delivery_id)
    if following is not None:
        deliver_webhook.delay(following)
    return "done"


@shared_task
def probe_webhook(webhook_id: str) -> str:
    """Try a paused endpoint once."""
    return "awake" if deliver.probe(webhook_id=webhook_id) else "paused"


@shared_task
def sweep() -> str:
    """Nudge everything that is due, and finish what a crash left half done."""
    now = timezone.now()
    closing.cancel_left_behind(now=now)
    for email in Email.objects.left_unscanned().with_mailbox()[:_BATCH]:
        compose.move_on(email=email, now=now)
    lost = outbox.settle_lost(now=now)
    emails = list(Email.objects.in_outbox().order_by("due_at").values_list("pk", flat=True)[:_BATCH])
    deliveries = WebhookDelivery.objects.in_turn(_BATCH)
    for email_id in emails:
        send_email.delay(email_id)
    for delivery_id in deliveries:
        deliver_webhook.delay(delivery_id)
    _sweep_endpoints()
    IdempotencyRecord.objects.expired().delete()
    usage.write_down_calls()
    return f"{len(emails)} emails, {len(deliveries)} deliveries, {lost} lost"


def _sweep_endpoints() -> None:
    """Try paused endpoints whose time has come, and end what waited or overlapped long enough."""
    for webhook_id in Webhook.objects.to_probe().values_list("pk", flat=True)[:_BATCH]:
        probe_webhook.delay(webhook_id)
    endpoints.give_up_waiting()
    hooks.forget_previous_secrets()
