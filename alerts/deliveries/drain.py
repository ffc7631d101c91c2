"""Delivers what is due at a destination, one after the other, until nothing is left or
it must wait.

A task names one destination or more: the first does all of it, and those that come
meanwhile only make it look once more. No worker sleeps: a wait is stored in the
destination's row, and a task is enqueued for its end. `sweep` finds what no task was
sent for.
"""

import threading
import time
from collections import Counter
from functools import cache

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from alerts import tasks
from alerts.channels import all_channels, channel_of
from alerts.deliveries.deliver import deliver
from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, Destination, UnplannedAct
from common.sweeps import do_all, duty

# So many destinations are delivered to at once in one process: its other threads are
# for decisions. Without a free slot a task ends at once; the sweep comes soon.
AT_ONCE = 6
_slots = threading.BoundedSemaphore(AT_ONCE)
# After that other destinations have their turn.
TURN_SECONDS = 10.0
# Longer waits are left to the sweep.
_SHORT_SECONDS = 90.0
# What `deliver` returns where it made no attempt that counts.
_NOT_ATTEMPTED = ("", "not due", "another one is under way", "asked to wait")
# What runs in this process, by destination, and where something came meanwhile that its
# last look may have missed.
_running: Counter[int] = Counter()
_asked_again: set[int] = set()
_guard = threading.Lock()


def drain(*, destination_id: int) -> str:
    """Deliver what is due at a destination for one turn at most, and return how many
    attempts that took.
    """
    if not _slots.acquire(blocking=False):
        return "no room now"
    ends = time.monotonic() + TURN_SECONDS
    result = "left to the one that runs"
    try:
        most = _parallel(destination_id)
        is_asked_again = True
        while is_asked_again:
            with _guard:
                if _running[destination_id] >= most:
                    _asked_again.add(destination_id)
                    break
                _running[destination_id] += 1
            try:
                result = _drain(destination_id, ends)
            finally:
                with _guard:
                    _running[destination_id] -= 1
                    # Something came meanwhile, for which nobody else looks.
                    is_asked_again = destination_id in _asked_again
                    _asked_again.discard(destination_id)
    finally:
        _slots.release()
    return result


@cache
def _parallel(destination_id: int) -> int:
    # A destination's kind never changes.
    kinds = Destination.objects.filter(pk=destination_id).values_list("kind", flat=True)
    return channel_of(kinds.first() or "").parallel


def _drain(destination_id: int, ends: float) -> str:
    tried = 0
    while (outcome := deliver(destination_id=destination_id)) not in _NOT_ATTEMPTED:
        tried += 1
        if time.monotonic() > ends:
            tasks.drain.delay_on_commit(destination_id)
            break
    if outcome == "asked to wait" or (tried and outcome == "not due"):
        waiting = Destination.objects.filter(pk=destination_id, waits_until__gt=Now())
        for until, now in waiting.values_list("waits_until", Now()):
            seconds = (until - now).total_seconds()
            if seconds <= _SHORT_SECONDS:
                tasks.drain.apply_async_on_commit(
                    (destination_id,), countdown=seconds + 0.01
                )
    return f"{tried} tried, then {outcome or 'nothing left'}"


def with_something_due() -> list[int]:
    """The destinations where something is due, and that need not wait."""
    due = Delivery.objects.due().filter(destination=OuterRef("pk"))
    waiting = Destination.objects.filter(waits_until__gt=Now(), switched_off_at=None)
    found = Destination.objects.filter(Exists(due)).exclude(pk__in=waiting.values("pk"))
    return list(found.order_by("pk").values_list("pk", flat=True))


def sweep() -> str:
    """Do every duty, and say how many destinations had something due, and which duties
    failed.
    """

    def send_due(_: list[int]) -> int:
        destinations = with_something_due()
        tasks.drain.delay_each(destinations)
        return len(destinations)

    duties = {
        "plan": duty(
            lambda: UnplannedAct.objects.order_by("pk"), lambda _: plan_waiting()
        )
    }
    for channel in all_channels().values():
        duties |= channel.duties()
    duties["due"] = duty(
        lambda: Delivery.objects.due().order_by("next_attempt_at"), send_due
    )
    result = do_all(duties)
    failed = f", but for: {', '.join(result.failed)}" if result.failed else ""
    return f"{result.done.get('due') or 'nothing'} due{failed}"
