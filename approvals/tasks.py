"""Celery's nudges: each takes ids, calls one command and returns a short word. What is due is decided by rows."""

from celery import shared_task
from django.utils import timezone

from approvals import execute, reconcile
from approvals.models import Decision, Message


@shared_task
def hydrate(message_id: int) -> str:
    """Fetch the content of one message."""
    return reconcile.hydrate(message_id=message_id, now=timezone.now())


@shared_task
def execute_decision(decision_id: int) -> str:
    """Carry one decision out, if it is due."""
    return execute.run_decision(decision_id=decision_id, now=timezone.now())


@shared_task
def read_connection(connection_id: int) -> str:
    """Reconcile one connection."""
    return reconcile.read_everything(connection_id=connection_id, now=timezone.now())


@shared_task
def resolve_decision(decision_id: int) -> str:
    """Find out what became of one decision in doubt."""
    return reconcile.resolve(decision_id=decision_id)


@shared_task
def sweep() -> str:
    """Find what no nudge reached: content to fetch, decisions that are due, abandoned or in doubt."""
    for message_id in Message.objects.not_hydrated().values_list("pk", flat=True)[:200]:
        hydrate.delay(message_id)
    for decision_id in Decision.objects.abandoned().values_list("pk", flat=True)[:200]:
        execute.abandon(decision_id=decision_id)
    for decision_id in Decision.objects.due().values_list("pk", flat=True)[:200]:
        execute_decision.delay(decision_id)
    for decision_id in Decision.objects.to_resolve().values_list("pk", flat=True)[:50]:
        resolve_decision.delay(decision_id)
    return "swept"


@shared_task
def reconcile_all() -> str:
    """Nudge a whole read of each connection."""
    for connection_id in reconcile.due_for_reading():
        read_connection.delay(connection_id)
    return "nudged"
