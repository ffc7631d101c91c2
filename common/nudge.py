"""Sends nudges through Redis after commit, and shrugs when it is away: rows are the truth, a sweep finds them."""

import logging
import time
from collections.abc import Callable
from functools import partial

from celery import current_app
from django.db import transaction

log = logging.getLogger(__name__)

# A request has several nudges and hints to send, and each would wait for its own time-out: after one that failed,
# this process leaves Redis alone for so long.
REST_SECONDS = 5.0
_rests_until = 0.0


def nudge(task: str, row_id: int | str, *, countdown: float | None = None) -> None:
    """Tell a worker, once the current transaction has committed, that row `row_id` wants attention.

    The task goes by its name, such as approvals.tasks.hydrate: what writes rows must not import what reads them.
    """
    send = partial(current_app.send_task, task, args=[row_id], countdown=countdown)
    transaction.on_commit(partial(try_to_send, send, "no nudge", task=task, row=row_id), robust=True)


def try_to_send(send: Callable[[], object], otherwise: str, **facts: object) -> None:
    """Call `send`, which speaks to Redis; when that fails, log `otherwise` and let Redis rest. Never raises."""
    global _rests_until
    if time.monotonic() < _rests_until:
        return
    try:
        send()
    except Exception as error:  # noqa: BLE001 - the broker's client raises of many kinds; none may cost a request
        _rests_until = time.monotonic() + REST_SECONDS
        log.warning(otherwise, extra={**facts, "reason": type(error).__name__})
