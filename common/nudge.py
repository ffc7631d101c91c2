"""Sends a Celery message after commit, and shrugs when the broker is away: rows are the truth, a sweep finds them."""

import logging
from functools import partial
from typing import Any

from django.db import transaction

log = logging.getLogger(__name__)


def nudge(task: Any, row_id: int, *, countdown: float | None = None) -> None:
    """Tell a worker, once the current transaction has committed, that row `row_id` wants attention."""
    transaction.on_commit(partial(_send, task, row_id, countdown), robust=True)


def _send(task: Any, row_id: int, countdown: float | None) -> None:
    try:
        task.apply_async(args=[row_id], countdown=countdown)
    except Exception as error:  # noqa: BLE001 - the broker's client raises of many kinds; none may cost a request
        log.warning("no nudge", extra={"task": task.name, "row": row_id, "reason": type(error).__name__})
