"""Delivers what is due at a destination, one after the other, until nothing is left or it must wait.

A task names a destination or one of its deliveries: the first worker does all of it, and the others find nothing. No
worker sleeps: a wait is stored in the destination's row, and a task is enqueued for its end.
"""

import threading
import time

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from alerts.deliveries.deliver import deliver
from alerts.deliveries.digests import fold
from alerts.models import Delivery, Destination
from common.enqueue import enqueue

TASK = "alerts.tasks.drain"
# So many destinations are delivered to at once in one process: its other threads are for decisions. Without a free slot
# a task ends at once; the sweep comes soon.
AT_ONCE = 6
_slots = threading.BoundedSemaphore(AT_ONCE)
# After that other destinations have their turn.
TURN_SECONDS = 10.0
# Longer waits are left to the sweep.
_SHORT_SECONDS = 90.0
_ATTEMPTED = ("delivered", "postponed", "failed", "refused", "gone", "card gone", "switched off")


def drain(*, destination_id: int) -> str:
    """Deliver what is due at a destination for one turn at most, and return how many attempts that took."""
    if not _slots.acquire(blocking=False):
        return "no room now"
    try:
        return _drain(destination_id)
    finally:
        _slots.release()


def _drain(destination_id: int) -> str:
    ends, tried = time.monotonic() + TURN_SECONDS, 0
    while (outcome := _next(destination_id)) in _ATTEMPTED:
        tried += 1
        if time.monotonic() > ends:
            enqueue(TASK, destination_id)
            break
    if outcome == "asked to wait" or (tried and outcome == "not due"):
        _enqueue_after_wait(destination_id)
    return f"{tried} tried, then {outcome or 'nothing left'}"


def drain_of(*, delivery_id: int) -> str:
    """Deliver what is due at the destination of this delivery."""
    found = Delivery.objects.filter(pk=delivery_id).values_list("destination", flat=True).first()
    return drain(destination_id=found) if found else "gone"


def with_something_due() -> list[int]:
    """The destinations where something is due, and that need not wait."""
    due = Delivery.objects.due().filter(destination=OuterRef("pk"))
    waiting = Destination.objects.filter(waits_until__gt=Now(), switched_off_at=None)
    found = Destination.objects.filter(Exists(due)).exclude(pk__in=waiting.values("pk"))
    return list(found.order_by("pk").values_list("pk", flat=True))


def _next(destination_id: int) -> str:
    fold(destination_id)
    pk = Delivery.objects.next_at(destination_id).values_list("pk", flat=True).first()
    return deliver(delivery_id=pk) if pk else ""


def _enqueue_after_wait(destination_id: int) -> None:
    until = Destination.objects.filter(pk=destination_id).values_list("waits_until", Now()).first()
    if until and until[0]:
        seconds = (until[0] - until[1]).total_seconds()
        if 0 < seconds <= _SHORT_SECONDS:
            enqueue(TASK, destination_id, countdown=seconds + 0.01)
