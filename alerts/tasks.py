"""The Celery tasks of alerts. The work itself is stored in rows: a task only wakes a
worker, and the periodic sweep finds rows whose task was lost.

Each task imports the function that it runs inside its body, because these functions
import this module to send tasks.
"""

from celery import shared_task

from common.tasks import AfterCommitTask


@shared_task(base=AfterCommitTask)
def plan() -> str:
    """Plan the deliveries of the acts that were recorded and not planned yet."""
    from alerts.deliveries.planning import plan_waiting

    return f"{plan_waiting()} planned"


@shared_task(base=AfterCommitTask)
def drain(*destinations: int) -> str:
    """Deliver what is due at the destinations with these keys, one after the other. If
    one fails, the sweep finds the deliveries of the others.
    """
    from alerts.deliveries.drain import drain

    return "; ".join(drain(destination_id=key) for key in destinations)


@shared_task(base=AfterCommitTask)
def answer_interaction(interaction_id: int) -> str:
    """Carry out what somebody pressed or typed in a chat, if its answer was deferred,
    and send the answer.
    """
    from alerts.channels.interactions import answer_interaction

    return answer_interaction(interaction_id=interaction_id)


@shared_task(base=AfterCommitTask)
def sweep() -> str:
    """Find rows whose task was lost: acts that were not planned, work of the channels,
    and due deliveries.
    """
    from alerts.deliveries.drain import sweep

    return sweep()


@shared_task(base=AfterCommitTask)
def take_up() -> str:
    """Go on with what a worker may have left when it was killed."""
    from alerts.deliveries.drain import take_up

    return take_up()
