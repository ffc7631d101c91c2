"""Sends a Celery message after commit, and shrugs when the broker is away: rows are the truth, a sweep finds them."""

import logging
from functools import partial

from celery import current_app
from django.db import transaction

log = logging.getLogger(__name__)


def nudge(task: str, row_id: int | str, *, countdown: float | None = None) -> None:
    """Tell a worker, once the current transaction has committed, that row `row_id` wants attention.

    The task goes by its name, such as approvals.tasks.hydrate: what writes rows must not import what reads them.
    """
    transaction.on_commit(partial(_send, task, row_id, countdown), robust=True)


def _send(task: str, row_id: int | str, countdown: float | None) -> None:
    try:
        current_app.send_task(task, args=[row_id], countdown=countdown)
    except Exception as error:  # noqa: BLE001 - the broker's client raises of many kinds; none may cost a request
        log.warning("no nudge", extra={"task": task, "row": row_id, "reason": type(error).__name__})
