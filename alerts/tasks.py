"""Celery's nudges for alerts; the rows say what is due."""

from celery import shared_task

from alerts.models import Delivery
from alerts.planning import plan_missed
from alerts.sending.deliver import deliver_card
from alerts.sending.witness import post_heads
from common.nudge import has_enough_to_do, nudge


@shared_task
def deliver(delivery_id: int) -> str:
    """Make one attempt at one delivery."""
    return deliver_card(delivery_id=delivery_id)


@shared_task
def sweep() -> str:
    """Find acts that were not planned, and deliveries that no nudge reached."""
    plan_missed()
    if has_enough_to_do(deliver.name):
        return "behind"
    due = list(Delivery.objects.due().order_by("next_attempt_at").values_list("pk", flat=True)[:500])
    for delivery_id in due:
        nudge(deliver.name, delivery_id)
    return f"{len(due)} due"


@shared_task
def witness(destination_id: int | None = None) -> str:
    """Post the newest head of the ledger to the destinations that witness it, or to this one, where that is due."""
    return f"{post_heads(only=destination_id)} posted"
