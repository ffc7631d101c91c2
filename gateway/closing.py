"""Cancels what a closed mailbox or account leaves behind. Closing itself is elsewhere (mailboxes.py, accounts.py).

Nothing of a closed mailbox may leave from the moment it is closed, whatever its status still says; so cancelling can
take its time: the caller does the first ones, the sweep does the rest, each in a transaction of its own.
"""

from datetime import datetime

from gateway import decide
from gateway.models import ApiKey, Email, Mailbox

BATCH = 200


def cancel_left_behind(*, now: datetime, key: ApiKey | None = None) -> int:
    """Cancel what waits in closed mailboxes, of the key's account or of all, and return how many."""
    mailboxes = Mailbox.objects.closed()
    if key is not None:
        mailboxes = mailboxes.filter(account_id=key.account_id)
    closed = list(mailboxes.values_list("pk", flat=True))
    if not closed:
        return 0
    emails = Email.objects.left_behind(closed).with_mailbox()[:BATCH]
    return sum(decide.take_back(key=key, email=email, now=now, because="closed") for email in emails)
