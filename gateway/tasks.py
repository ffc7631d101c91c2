"""Celery tasks: each takes an id and calls one command; `sweep` finds rows whose wake-up was lost."""

from celery import shared_task
from django.utils import timezone

from common.enqueue import enqueue
from gateway import notices, sweeping
from gateway.messages import outbox
from gateway.webhooks import deliveries


# All time limits of one attempt together (smtp.py) are below that of the worker (dashboard/worker.py).
@shared_task
def send_email(email_id: str) -> str:
    """Make one attempt at one email."""
    return outbox.send_due(email_id=email_id, now=timezone.now())


@shared_task
def send_notice(notice_id: str) -> str:
    """Make one attempt at one mail to an oversight address."""
    return notices.send_due(notice_id=notice_id)


@shared_task
def deliver_webhook(delivery_id: int) -> str:
    """Make one attempt at one webhook delivery, and enqueue the next one of the same message."""
    following = deliveries.deliver(delivery_id=delivery_id)
    if following is not None:
        deliver_webhook.delay(following)
    return "done"


@shared_task
def drain_webhook(delivery_id: int) -> str:
    """Work on one subscription's backlog for a moment, then enqueue itself behind other work."""
    following = deliveries.drain(delivery_id=delivery_id)
    if following is not None:
        enqueue(drain_webhook.name, following)
    return "done"


@shared_task
def probe_webhook(webhook_id: str) -> str:
    """Try a paused endpoint once."""
    return "awake" if deliveries.probe(webhook_id=webhook_id) else "paused"


@shared_task
def sweep() -> str:
    """Enqueue everything that is due, and finish what a crash interrupted."""
    return sweeping.sweep(now=timezone.now())
