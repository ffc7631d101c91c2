"""The tasks of alerts. Work to do is in rows; a task takes an id, and the sweep finds
what no task was sent for.

A task imports what it runs when it runs, so that what it runs may send it.
"""

from celery import shared_task

from common.tasks import AfterCommitTask


@shared_task(base=AfterCommitTask)
def plan() -> str:
    """Plan the deliveries of the acts that wait for it."""
    from alerts.deliveries.planning import plan_waiting

    return f"{plan_waiting()} planned"


@shared_task(base=AfterCommitTask)
def drain(destinations: int | str) -> str:
    """Deliver what is due at a destination, or at several whose keys are separated by
    commas, one after the other.

    Where one does not answer, the sweep comes for those behind it.
    """
    from alerts.deliveries.drain import drain

    return "; ".join(
        drain(destination_id=int(key)) for key in str(destinations).split(",")
    )


@shared_task(base=AfterCommitTask)
def answer_interaction(interaction_id: int) -> str:
    """Run a command that somebody gave on Discord, or judge a press that was deferred,
    and answer it.
    """
    from alerts.channels.discord.interactions import answer_interaction

    return answer_interaction(interaction_id=interaction_id)


@shared_task(base=AfterCommitTask)
def sweep() -> str:
    """Find what no task was sent for: acts that were not planned, work of each kind,
    and due deliveries.
    """
    from alerts.deliveries.drain import sweep

    return sweep()


@shared_task(base=AfterCommitTask)
def witness() -> str:
    """Post the newest checkpoint of the ledger to the destinations where it is due."""
    from alerts.deliveries.witness import post_heads

    return f"{post_heads()} posted"
