"""The states of an email, the table of how they change, and the oversight modes of a
mailbox.

The words are MultiMail's, with `sent` for mail that went out. Delivery and
bounces are times of an email, not states. Only `Email.objects.move` writes a state, by
compare-and-set.
"""

from django.db import models

from common.tables import table_steps


class Status(models.TextChoices):
    """The state of an email."""

    # Before it is stored; no row has it.
    PENDING_SCAN = "pending_scan"
    PENDING_SEND_APPROVAL = "pending_send_approval"
    PENDING_INBOUND_APPROVAL = "pending_inbound_approval"
    SCHEDULED = "scheduled"
    SENT = "sent"
    SEND_FAILED = "send_failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    UNREAD = "unread"
    READ = "read"
    ARCHIVED = "archived"
    DELETED = "deleted"
    SPAM_FLAGGED = "spam_flagged"
    SPAM_QUARANTINED = "spam_quarantined"


class Direction(models.TextChoices):
    """Whether the mailbox has received the email (inbound) or sends it (outbound)."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Decision(models.TextChoices):
    """What was decided about a held email."""

    APPROVED = "approved"
    REJECTED = "rejected"


class Change(models.TextChoices):
    """What can happen to an email, so that its state changes."""

    # When it is accepted, changed or due: hold it for a decision, or release it to the
    # outbox.
    HOLD = "hold"
    RELEASE = "release"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    SEND = "send"
    FAIL = "fail"
    OPEN = "open"
    REPORT_SPAM = "report_spam"
    NOT_SPAM = "not_spam"


# `scheduled` is also the state of mail in the outbox: released or approved, and due now
# or at its time.
TRANSITIONS = table_steps(
    """
hold        | pending_send_approval | pending_scan scheduled
release     | scheduled             | pending_scan scheduled
approve     | scheduled             | pending_send_approval
approve     | unread                | pending_inbound_approval
reject      | rejected              | pending_send_approval pending_inbound_approval
cancel      | cancelled             | pending_send_approval pending_inbound_approval
    scheduled
send        | sent                  | scheduled
fail        | send_failed           | scheduled
open        | read                  | unread
report_spam | spam_quarantined      | unread read archived spam_flagged
not_spam    | unread                | spam_flagged spam_quarantined
""",
    Status,
    Change,
)
AWAITING_DECISION = (Status.PENDING_SEND_APPROVAL, Status.PENDING_INBOUND_APPROVAL)
# Received mail that no person has approved: its content is withheld from agents, also
# after a rejection.
WITHHELD = (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED, Status.CANCELLED)
# Lists leave these out unless the status is asked for.
HIDDEN = (Status.SPAM_QUARANTINED, Status.DELETED)


class InvalidTransition(Exception):
    """The table has no transition from this state by this change."""


def allows(status: str, change: Change) -> bool:
    """Whether `change` can happen to an email in `status`."""
    return (status, change) in TRANSITIONS


def next_state(status: str, change: Change) -> str:
    """Return the state that follows `status` by `change`. Raises InvalidTransition if
    the table has none.
    """
    try:
        return TRANSITIONS[status, change]
    except KeyError:
        raise InvalidTransition(f"An email that is {status} cannot {change}.") from None


class Mode(models.TextChoices):
    """The oversight mode of a mailbox: how closely people watch its mail. Strictest
    first.
    """

    READ_ONLY = "read_only"
    GATED_ALL = "gated_all"
    GATED_SEND = "gated_send"
    MONITORED = "monitored"
    AUTONOMOUS = "autonomous"


class GateTiming(models.TextChoices):
    """When a scheduled message waits for its decision: at once, or when its time has
    come.
    """

    GATE_FIRST = "gate_first"
    SCHEDULE_FIRST = "schedule_first"


def is_looser(mode: str, than: str) -> bool:
    """Whether people see less of the mail in `mode` than in the mode `than`."""
    return Mode.values.index(mode) > Mode.values.index(than)


def stricter(one: Mode, other: Mode) -> Mode:
    """Return the stricter of two modes."""
    return other if is_looser(one, other) else one


def is_gated(mode: Mode) -> bool:
    """Whether outgoing mail waits for a decision in this mode."""
    return mode in (Mode.GATED_ALL, Mode.GATED_SEND)
