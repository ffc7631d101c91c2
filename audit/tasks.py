"""What the workers do for the ledger. Each may be called twice: rows say what is left to do."""

from celery import shared_task

from audit.retention import remove_old_details
from audit.sealing.anchors import write_anchors
from audit.sealing.sealer import seal_all
from audit.verification.checks import begin_daily_check, start_check


@shared_task
def seal() -> str:
    """Seal what no open transaction can come before any more, and write the newest seals outside the database."""
    sealed = seal_all()
    return f"{sealed} sealed, {write_anchors()} anchored"


@shared_task
def check(check_id: int) -> str:
    """Have the whole ledger looked through for one row of Check, beside this worker."""
    return start_check(check_id)


@shared_task
def check_daily() -> str:
    """Begin a look through the whole ledger where the last is a day old, and take up one that was broken off."""
    return begin_daily_check()


@shared_task
def forget_details() -> str:
    """Remove personal details that are older than they may be kept, some at a time."""
    return f"{remove_old_details()} forgotten"
