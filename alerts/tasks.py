"""Celery's nudges for alerts; the rows say what is due."""

from celery import shared_task

from alerts.channels.discord.commands.proving import note_proved
from alerts.channels.discord.commands.running import due_commands
from alerts.channels.discord.commands.running import run_command as run_command_now
from alerts.channels.discord.interactions.later import judge_press as judge_press_now
from alerts.channels.discord.interactions.later import nudge_due
from alerts.channels.discord.interactions.receiving import forget_answers
from alerts.deliveries.drain import drain as drain_at
from alerts.deliveries.drain import drain_of, with_something_due
from alerts.deliveries.missed import plan_missed
from alerts.deliveries.witness import post_heads
from common.nudge import has_enough_to_do, nudge


@shared_task
def deliver(delivery_id: int) -> str:
    """Tell the destination of one delivery what is due there, this delivery in its turn."""
    return drain_of(delivery_id=delivery_id)


@shared_task
def drain(destination_id: int) -> str:
    """Tell a destination what is due there."""
    return drain_at(destination_id=destination_id)


@shared_task
def run_command(interaction_id: int) -> str:
    """Carry out a command that somebody gave on Discord, and answer it."""
    return run_command_now(interaction_id=interaction_id)


@shared_task
def judge_press(interaction_id: int) -> str:
    """Judge a press on Discord that had to wait for others, and answer it."""
    return judge_press_now(interaction_id=interaction_id)


@shared_task
def sweep() -> str:
    """Find what no nudge told of: acts that were not planned, commands, and destinations with something due."""
    plan_missed()
    note_proved()
    nudge_due()
    forget_answers()
    for interaction_id in due_commands():
        nudge(run_command.name, interaction_id)
    if has_enough_to_do(drain.name):
        return "behind"
    places = with_something_due()
    for destination_id in places:
        nudge(drain.name, destination_id)
    return f"{len(places)} with something due"


@shared_task
def witness(destination_id: int | None = None) -> str:
    """Post the newest head of the ledger to the destinations that witness it, or to this one, where that is due."""
    return f"{post_heads(only=destination_id)} posted"
