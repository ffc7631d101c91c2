"""Wakes a worker after commit. Only a nudge: the row is the work, and the sweep finds what was not nudged."""

import logging
from functools import partial

from celery import current_app
from django.db import transaction

log = logging.getLogger(__name__)


def after_commit(task: str, *ids: object) -> None:
    """Queue `gateway.tasks.<task>` when the transaction has committed. A missing broker never fails the caller."""
    transaction.on_commit(partial(_publish, f"gateway.tasks.{task}", ids), robust=True)


def _publish(task: str, ids: tuple[object, ...]) -> None:
    try:
        # By name: what writes rows must not import the tasks that read them.
        current_app.send_task(task, args=ids, ignore_result=True)
    except Exception as error:  # noqa: BLE001 - the broker's client raises of many kinds; none may cost a request
        log.warning("nudge lost, the sweep will find it", extra={"task": task, "reason": type(error).__name__})
