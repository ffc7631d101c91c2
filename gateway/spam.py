"""What agents say of received mail: that it is spam, which puts it away, or that it is not, which brings it back."""

import logging

from django.db import transaction

from gateway import auditing
from gateway.errors import Conflict
from gateway.models import ApiKey, Email
from gateway.states import Change, Direction, allows

log = logging.getLogger(__name__)

SPAM, NOT_SPAM = "spam", "not_spam"
_CHANGES = {SPAM: Change.REPORT_SPAM, NOT_SPAM: Change.NOT_SPAM}


def label(*, key: ApiKey, email: Email, user_label: str) -> Email:
    """Write down what the agent says of a message, and move it; twice is no error. Raises Conflict."""
    if email.direction != Direction.INBOUND:
        raise Conflict("This message was written here: only received mail can be spam.", code="not_received")
    with transaction.atomic():
        change = _CHANGES[user_label]
        if allows(email.status, change):
            moved = Email.objects.filter(pk=email.pk).move(email, change, user_label=user_label)
        else:
            at_home = Email.objects.filter(pk=email.pk, status__in=_AT_HOME[user_label])
            moved = bool(at_home.update(user_label=user_label))
        if not moved:
            raise Conflict(f"This message cannot be called {user_label}: it is {email.status}.", code="not_possible")
        email.user_label = user_label
        auditing.note(f"email.{user_label}", email=email, key=key)
    log.info("email labelled", extra={"email": email.pk, "label": user_label, "key": key.pk})
    return email


# Where a message is already as the label says.
_AT_HOME = {SPAM: ("spam_quarantined",), NOT_SPAM: ("unread", "read", "archived")}
