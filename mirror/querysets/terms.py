"""The words that reads share: which states and which spans of time a name stands for."""

from datetime import timedelta

from django.db.models import DateTimeField, F, Func, IntegerField

from mirror.states import DecisionState, MessageState

# A message that was held and is now past the desk.
DONE = tuple(state for state in MessageState if state not in (MessageState.HELD, MessageState.SCHEDULED))

# Decided here, and what became of it is not known.
IN_DOUBT = (DecisionState.UNKNOWN, DecisionState.UNATTRIBUTED, DecisionState.WITHDRAWN)

# A decision in one of these did not count in the end.
VOID = (DecisionState.UNDONE, DecisionState.REFUSED, DecisionState.SUPERSEDED, DecisionState.WITHDRAWN)
# Let go by somebody: whatever was asked of its writer before has been answered.
LET_GO = tuple(
    state
    for state in DONE
    if state not in (MessageState.REJECTED, MessageState.CANCELLED, MessageState.GONE, MessageState.RECEIVED)
)

# A claim whose holder has not looked at the message for so long is over by itself.
CLAIM_LASTS = timedelta(minutes=10)
# Nothing that expires is kept out of anybody's sight for its last hour.
BACK_BEFORE = timedelta(hours=1)
# What is older has been seen, and nobody is asked about it again.
LATELY = timedelta(days=7)

# An approve in one of these can still be stopped by its expiry.
CAN_EXPIRE = (DecisionState.RECORDED, DecisionState.UNKNOWN)
EXPIRY_REST = timedelta(minutes=15)
# How long before its end the expiry of a message is announced; a tenth of its time where that is shorter.
TOLD_BEFORE = timedelta(hours=1)

# So many complete reads, a settle time apart, must agree on a message before anything follows from them.
READS_THAT_PROVE = 2

# Past the desk, and more is to be heard of it.
ON_ITS_WAY = (MessageState.APPROVED, MessageState.SCHEDULED_APPROVED, MessageState.GONE)

# A content that could not be stored so often is left alone.
FETCH_TRIES = 3

# Of a webhook's body pages show so many bytes.
BODY_SHOWN = 2000

# What the queue is ordered by, all ascending; indexes of the message are made from them.
CALM = Func(F("risk"), template="(-%(expressions)s)", output_field=IntegerField())
ENDS = Func(F("expires_at"), template="COALESCE(%(expressions)s, timestamptz 'infinity')", output_field=DateTimeField())
