"""Cancels what a closed mailbox or account leaves behind. Closing itself is elsewhere (mailboxes.py, accounts.py).

Nothing of a closed mailbox may leave from the moment it is closed, whatever its status still says; so cancelling can
take its time: the caller does the first ones, the sweep does the rest, each in a transaction of its own.
"""

from datetime import datetime

from gateway import decide
from gateway.models import ApiKey, Email

BATCH = 200


def cancel_left_behind(*, now: datetime, key: ApiKey | None = None) -> int:
    """Cancel the oldest messages of closed mailboxes, of the key's account or of all, and return how many."""
    emails = Email.objects.left_behind().with_mailbox()
    if key is not None:
        emails = emails.filter(account_id=key.account_id)
    return sum(decide.take_back(key=key, email=email, now=now, because="closed") for email in emails[:BATCH])
