"""Delivers what is due at a destination, one delivery after the other, until nothing is
left or the destination must wait. Also has the sweep of alerts, which finds due rows
whose task was lost.

Of two tasks for a destination that claim at one time, one ends at once; the other looks
for more when it is done. No worker sleeps: a wait is stored in the
destination's row, and a task is enqueued for the time when it ends.
"""

import threading
import time

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from alerts import tasks
from alerts.channels import interactions
from alerts.channels.discord.commands import note_commanded
from alerts.deliveries.deliver import deliver
from alerts.deliveries.planning import plan_waiting
from alerts.models import Delivery, Destination, UnplannedAct
from approvals.models import CommandedMail
from common.sweeps import do_all, duty
from notices.planning import summarise

# How many tasks of one process deliver at the same time: its other threads are for
# decisions. If there is no free slot a task ends at once, and is sent again when one is.
AT_ONCE = 6
_slots = threading.BoundedSemaphore(AT_ONCE)
# The destinations whose tasks found none, in their order.
_waiting: dict[int, None] = {}
# After this time it is the turn of other destinations.
TURN_SECONDS = 10.0
# No task is enqueued for the end of a longer wait: the sweep finds what is due then.
_SHORT_SECONDS = 90.0
# What `deliver` returns if it made no attempt that counts.
_NOT_ATTEMPTED = ("", "not due", "asked to wait")


def drain(*, destination_id: int) -> str:
    """Deliver what is due at a destination, for one turn at most. Return a text for the
    log, such as "3 tried, then nothing left".
    """
    if not _slots.acquire(blocking=False):
        _waiting[destination_id] = None
        return "no room now"
    turn_ends = time.monotonic() + TURN_SECONDS
    tried = 0
    try:
        while (outcome := deliver(destination_id=destination_id)) not in _NOT_ATTEMPTED:
            tried += 1
            if time.monotonic() > turn_ends:
                tasks.drain.delay_on_commit(destination_id)
                break
    finally:
        _slots.release()
        for following in list(_waiting)[:1]:
            _waiting.pop(following, None)
            tasks.drain.delay_on_commit(following)
    # A task for the time when the wait ends.
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
    """Return the keys of the destinations that have something due and need not wait."""
    due = Delivery.objects.due().filter(destination=OuterRef("pk"))
    destinations = Destination.objects.filter(Exists(due)).exclude(
        waits_until__gt=Now(), switched_off_at=None
    )
    return list(destinations.order_by("pk").values_list("pk", flat=True))


def sweep() -> str:
    """Find rows whose task was lost, and send their tasks again. Return a text for the
    log: how many destinations had something due, and which parts of the sweep failed.
    """

    def send_due(_: list[int]) -> int:
        destinations = with_something_due()
        tasks.drain.delay_each(destinations)
        return len(destinations)

    unplanned = duty(UnplannedAct.objects.left_behind, lambda _: plan_waiting())
    commanded = duty(CommandedMail.objects.to_note, note_commanded, most=100)
    due = duty(lambda: Delivery.objects.due().order_by("next_attempt_at"), send_due)
    result = do_all(
        {"plan": unplanned, **interactions.duties(), "commanded": commanded, "due": due}
    )
    failed = f", but for: {', '.join(result.failed)}" if result.failed else ""
    return f"{result.done.get('due') or 'nothing'} due{failed}"


def take_up() -> str:
    """Go on with what a worker may have left when it was killed: the notices that it had
    claimed, the summaries, and what a sweep finds.
    """
    Delivery.objects.release()
    summarise()
    return sweep()
