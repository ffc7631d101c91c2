"""Definitions that several apps share: sets of states, and how long things last."""

from datetime import timedelta

from django.db.models import DateTimeField, F, Func

from mirror.states import LIVE_DECISIONS, DecisionState, MessageState

# States of a message that is not held any more, or never was. Scheduled messages are
# not among them, because they may still be held.
DONE = tuple(
    state
    for state in MessageState
    if state not in (MessageState.HELD, MessageState.SCHEDULED)
)

# States of a decision whose call may have taken effect, which is not known.
IN_DOUBT = (DecisionState.UNKNOWN, DecisionState.UNATTRIBUTED, DecisionState.WITHDRAWN)

# States of a decision that a report of MultiMail can still end.
UNSETTLED = (*LIVE_DECISIONS, DecisionState.WITHDRAWN)

# States of a decision that had no effect, or was withdrawn.
VOID = (
    DecisionState.UNDONE,
    DecisionState.REFUSED,
    DecisionState.SUPERSEDED,
    DecisionState.WITHDRAWN,
)
# States of a message that somebody approved. This also ends a request for changes.
LET_GO = tuple(
    state for state in DONE if state not in "rejected cancelled gone received".split()
)

# How long a claim lasts after its holder last had the message on screen.
CLAIM_LASTS = timedelta(minutes=10)
# A snooze ends this long before the message expires.
BACK_BEFORE = timedelta(hours=1)
# Queries for what needs attention, or is still to be settled, look no further back.
LATELY = timedelta(days=7)

# States of an approval that the message's expiry can still stop.
CAN_EXPIRE = (DecisionState.RECORDED, DecisionState.UNKNOWN)
# The pause after MultiMail refused the rejection of an expired message.
EXPIRY_REST = timedelta(minutes=15)
# How long before a message expires this is announced; a tenth of the time that it has,
# if that is shorter.
TOLD_BEFORE = timedelta(hours=1)

# A decision with an unknown outcome is settled after this many complete reads in a row
# that show the same of its message. Reads that follow too quickly count as one.
READS_THAT_PROVE = 2

# States of a decided message of which MultiMail will still report something.
ON_ITS_WAY = (MessageState.APPROVED, MessageState.SCHEDULED_APPROVED, MessageState.GONE)

# How often a message's content is fetched before it is given up.
FETCH_TRIES = 3

# How many bytes of a webhook's body a page shows.
BODY_SHOWN = 2000


def or_never(field: str) -> Func:
    """Return an expression for a time that is infinity if the column is empty. Indexes
    contain it, so it must not change without a migration.
    """
    never = "COALESCE(%(expressions)s, timestamptz 'infinity')"
    return Func(F(field), template=never, output_field=DateTimeField())


ENDS = or_never("expires_at")
