"""The Celery tasks of the ledger. Each may run twice: rows say what is left to do.

Imports are inside the tasks, because the modules that they call import this one to
enqueue tasks.
"""

from celery import shared_task

from common.tasks import AfterCommitTask


@shared_task(base=AfterCommitTask)
def seal() -> str:
    """Seal the new entries whose transactions have ended, and write the newest seals to
    a file outside the database.
    """
    from audit.sealing.anchors import write_anchors
    from audit.sealing.sealer import seal_all

    sealed = seal_all()
    return f"{sealed} sealed, {write_anchors()} anchored"


@shared_task(base=AfterCommitTask)
def check(check_id: int) -> str:
    """Start the process that checks the whole ledger for one row of Check."""
    from audit.verification.checks import start_check

    return start_check(check_id)


@shared_task(base=AfterCommitTask)
def check_daily() -> str:
    """Start a check of the whole ledger if the last one began a day ago, or if the
    process of a check has died.
    """
    from audit.verification.checks import begin_daily_check

    return begin_daily_check()


@shared_task(base=AfterCommitTask)
def forget_details() -> str:
    """Remove personal details that are older than AUDIT_DETAILS_DAYS days, and those
    whose list was not sealed in time. A run ends after some seconds; the next one goes
    on.
    """
    from audit.retention import list_old_details, remove_listed
    from audit.sealing.sealer import seal_all

    removed = remove_listed()
    list_old_details()
    seal_all()
    return f"{removed + remove_listed()} forgotten"
