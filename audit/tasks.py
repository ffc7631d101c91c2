"""The ledger's tasks. Each may run twice: the rows say what is left to do.

A task imports what it runs when it runs, so that what it runs may send it.
"""

from celery import shared_task

from common.tasks import AfterCommitTask


@shared_task(base=AfterCommitTask)
def seal() -> str:
    """Seal the entries of all transactions that have ended, and write the newest seals
    outside the database.
    """
    from audit.sealing.anchors import write_anchors
    from audit.sealing.sealer import seal_all

    sealed = seal_all()
    return f"{sealed} sealed, {write_anchors()} anchored"


@shared_task(base=AfterCommitTask)
def check(check_id: int) -> str:
    """Check the whole ledger for one row of Check, in a separate process."""
    from audit.verification.checks import start_check

    return start_check(check_id)


@shared_task(base=AfterCommitTask)
def check_daily() -> str:
    """Start a check of the whole ledger where the last is a day old, or where one was
    lost.
    """
    from audit.verification.checks import begin_daily_check

    return begin_daily_check()


@shared_task(base=AfterCommitTask)
def forget_details() -> str:
    """Remove personal details that are older than AUDIT_DETAILS_DAYS, some at a time."""
    from audit.retention import remove_old_details

    return f"{remove_old_details()} forgotten"
