"""Tells a worker, after commit, that a row wants attention; without a broker the sweep finds the row."""

from datetime import datetime

from approvals.models import Decision, Message
from common.nudge import nudge


def hydrate(message: Message) -> None:
    """The content of this message should be fetched."""
    nudge("approvals.tasks.hydrate", message.pk)


def execute(decision: Decision, *, now: datetime) -> None:
    """This decision should be carried out when its undo window is over."""
    wait = (decision.due_at - now).total_seconds()
    nudge("approvals.tasks.execute_decision", decision.pk, countdown=max(0.0, wait) + 0.05)
