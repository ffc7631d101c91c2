"""Celery's nudges: each takes ids, calls one command and returns a short word. What is due is decided by rows."""

from typing import Any

from celery import shared_task
from django.db.models import QuerySet
from django.utils import timezone

from approvals import execute, expire, reconcile
from approvals import resolve as resolving
from approvals.models import Connection, Decision, Message


@shared_task
def hydrate(message_id: int) -> str:
    """Fetch the content of one message."""
    return reconcile.hydrate(message_id=message_id, now=timezone.now())


@shared_task
def execute_decision(decision_id: int) -> str:
    """Carry one decision out, if it is due."""
    return execute.run_decision(decision_id=decision_id, now=timezone.now())


@shared_task
def execute_due(_: int = 0) -> str:
    """Nudge every decision that is due: what kept them is gone."""
    _nudge(execute_decision, Decision.objects.due()[:200])
    return "nudged"


@shared_task
def read_connection(connection_id: int) -> str:
    """Reconcile one connection."""
    return reconcile.read_everything(connection_id=connection_id, now=timezone.now())


@shared_task
def resolve_decision(decision_id: int) -> str:
    """Find out what became of one decision in doubt."""
    return resolving.resolve(decision_id=decision_id)


@shared_task
def sweep() -> str:
    """Find what no nudge reached: content to fetch, decisions that are due, abandoned or in doubt."""
    for decision_id in Decision.objects.abandoned().values_list("pk", flat=True)[:200]:
        execute.abandon(decision_id=decision_id)
    expire.expire_due()
    execute_due()
    _nudge(resolve_decision, Decision.objects.to_resolve()[:50])
    _nudge(hydrate, Message.objects.to_hydrate()[:200])
    # One read shows that a connection is well again, and brings all that was missed; a call a message would not help.
    _nudge(read_connection, Connection.objects.failing())
    return "swept"


@shared_task
def reconcile_all() -> str:
    """Nudge a whole read of each connection."""
    _nudge(read_connection, Connection.objects.to_read())
    return "nudged"


def _nudge(task: Any, rows: QuerySet[Any]) -> None:
    for row_id in rows.values_list("pk", flat=True):
        task.delay(row_id)
