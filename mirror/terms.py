"""Shared definitions for queries: sets of states, and time spans."""

from datetime import timedelta

from django.db.models import DateTimeField, F, Func

from mirror.states import LIVE_DECISIONS, DecisionState, MessageState

# States of a message after it was held.
DONE = tuple(
    state
    for state in MessageState
    if state not in (MessageState.HELD, MessageState.SCHEDULED)
)

# Decided here, with an unknown outcome.
IN_DOUBT = (DecisionState.UNKNOWN, DecisionState.UNATTRIBUTED, DecisionState.WITHDRAWN)

# A report of MultiMail can end a decision in one of these states.
UNSETTLED = (*LIVE_DECISIONS, DecisionState.WITHDRAWN)

# A decision in one of these states had no effect.
VOID = (
    DecisionState.UNDONE,
    DecisionState.REFUSED,
    DecisionState.SUPERSEDED,
    DecisionState.WITHDRAWN,
)
# Approved by somebody, which also ends a request for changes.
LET_GO = tuple(
    state
    for state in DONE
    if state
    not in (
        MessageState.REJECTED,
        MessageState.CANCELLED,
        MessageState.GONE,
        MessageState.RECEIVED,
    )
)

# How long a claim lasts after its holder last had the message on screen.
CLAIM_LASTS = timedelta(minutes=10)
# A snooze ends this long before the message expires.
BACK_BEFORE = timedelta(hours=1)
# What is older has been seen, and nobody is asked about it again.
LATELY = timedelta(days=7)

# An approve in one of these can still be stopped by its expiry.
CAN_EXPIRE = (DecisionState.RECORDED, DecisionState.UNKNOWN)
EXPIRY_REST = timedelta(minutes=15)
# How long before its end the expiry of a message is announced; a tenth of its time
# where that is shorter.
TOLD_BEFORE = timedelta(hours=1)

# How many complete reads, a settle time apart, must agree on a message to settle it.
READS_THAT_PROVE = 2

# Decided, with more events to come.
ON_ITS_WAY = (MessageState.APPROVED, MessageState.SCHEDULED_APPROVED, MessageState.GONE)

# Content is given up after this many tries.
FETCH_TRIES = 3

# How many bytes of a webhook's body pages show.
BODY_SHOWN = 2000


def or_never(field: str) -> Func:
    """Return a time, or one that never comes where there is none; indexes are made from
    it.
    """
    never = "COALESCE(%(expressions)s, timestamptz 'infinity')"
    return Func(F(field), template=never, output_field=DateTimeField())


ENDS = or_never("expires_at")
