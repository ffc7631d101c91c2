"""After a restore: nothing leaves that may have left since the backup was made, and
nothing without a person.

The rows that the backup brought back are older than what was sent since.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from gateway import auditing
from gateway.models import Account, Email, Notice
from gateway.states import Change, Decision, Direction, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HoldBackResult:
    """What a restore did to the outbox: emails that are written off, and how many wait
    for their time.
    """

    written_off: tuple[str, ...]
    scheduled: int
    accounts: int


@transaction.atomic
def hold_back(*, made_at: datetime) -> HoldBackResult:
    """Write off every live email that was due, and hold all mail of every account. Must
    run before any worker does.

    What was due may have been handed to the mail server since the backup: it becomes
    `sent` with `fate_unknown`, like an email whose worker died, and is never sent by
    itself. What is due later waits until somebody ends `hold_all`, as it may have been
    cancelled or sent earlier meanwhile.
    """
    reason = f"Restored from the backup of {made_at:%Y-%m-%d %H:%M:%S} UTC: it may have been sent since."
    scheduled = Email.objects.filter(status=Status.SCHEDULED, sandbox=False)
    # Pending messages may have been decided after the backup: their rows in the pending
    # list show it.
    to_ask = Q(gated=True) & ~Q(decision=Decision.APPROVED)
    unfinished = (Status.PENDING_SCAN, Status.PENDING_SEND_APPROVAL, Status.SCHEDULED)
    live = Email.objects.filter(
        direction=Direction.OUTBOUND, sandbox=False, status__in=unfinished
    )
    live.filter(to_ask).update(fate_unknown=True, last_error=reason)
    due = scheduled.filter(~to_ask, due_at__lte=Now()).order_by("due_at", "id")
    written_off = []
    for email in due.with_mailbox():
        fields = {
            "fate_unknown": True,
            "lease_until": None,
            "due_at": None,
            "last_error": reason,
        }
        if Email.objects.move(email, Change.SEND, **fields):
            auditing.record("email.fate_unknown", email, reason=reason)
            written_off.append(f"{email.pk} ({email.mailbox.address})")
    Notice.objects.filter(due_at__isnull=False).update(due_at=None, last_error=reason)
    accounts = list(Account.objects.filter(is_active=True))
    Account.objects.filter(is_active=True).update(hold_all_at=timezone.now())
    for account in accounts:
        auditing.record("account.hold_all_on", account, reason=reason)
    log.warning(
        "held back after a restore",
        extra={"written_off": len(written_off), "accounts": len(accounts)},
    )
    return HoldBackResult(tuple(written_off), scheduled.count(), len(accounts))
