"""The periodic Celery tasks of notices.

Each imports the function that it runs inside its body, as all tasks do.
"""

from celery import shared_task

from common.tasks import AfterCommitTask


@shared_task(base=AfterCommitTask)
def summarise() -> str:
    """Tell everybody for whom it is morning what waits."""
    from notices.planning import summarise

    return f"{summarise()} told"


@shared_task(base=AfterCommitTask)
def forget() -> str:
    """Delete old notices."""
    from notices.planning import forget

    return f"{forget()} deleted"
