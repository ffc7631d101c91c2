"""Celery's tasks for alerts; the rows say what is due."""

from functools import cache

from celery import shared_task

from alerts.channels import all_channels
from alerts.channels.discord.commands.run import run_command as run_command_now
from alerts.channels.discord.interactions.receiving import judge_press as judge_press_now
from alerts.deliveries.drain import drain as drain_destination
from alerts.deliveries.drain import with_something_due
from alerts.deliveries.missed import acts_to_look_at, plan_missed
from alerts.deliveries.witness import post_heads
from alerts.models import Delivery
from common.enqueue import enqueue, has_enough_to_do
from common.sweeps import Sweep, duty


@shared_task
def drain(destinations: int | str) -> str:
    """Deliver what is due at a destination, or at several whose keys are separated by commas, one after the other.

    Where one does not answer, the sweep comes for those behind it.
    """
    return "; ".join(drain_destination(destination_id=int(key)) for key in str(destinations).split(","))


@shared_task
def run_command(interaction_id: int) -> str:
    """Run a command that somebody gave on Discord, and answer it."""
    return run_command_now(interaction_id=interaction_id)


@shared_task
def judge_press(interaction_id: int) -> str:
    """Judge a press on Discord that was deferred, and answer it."""
    return judge_press_now(interaction_id=interaction_id)


@shared_task
def sweep() -> str:
    """Find what no task was enqueued for: acts that were not planned, work of each kind, and due deliveries."""
    result = _sweep().run()
    failed = f", but for: {', '.join(result.failed)}" if result.failed else ""
    return f"{result.done.get('due') or 'nothing'} due{failed}"


@cache
def _sweep() -> Sweep:
    duties = {"missed": duty(lambda: acts_to_look_at().order_by("-at"), lambda _: plan_missed())}
    for channel in all_channels().values():
        duties |= channel.duties()
    duties["due"] = duty(lambda: Delivery.objects.due().order_by("next_attempt_at"), _wake_due)
    return Sweep(duties)


def _wake_due(_: list[int]) -> int:
    if has_enough_to_do(drain.name):
        return 0
    destinations = with_something_due()
    for destination_id in destinations:
        enqueue(drain.name, destination_id)
    return len(destinations)


@shared_task
def witness(destination_id: int | None = None) -> str:
    """Post the newest head of the ledger to the destinations that witness it, or to this one, where that is due."""
    return f"{post_heads(only=destination_id)} posted"
