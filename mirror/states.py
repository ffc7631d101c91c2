"""The two state machines, of messages and of decisions. Each is a mapping from a state
and an event to the next state. The state of a message says what MultiMail did with it;
the state of a decision says how far the desk has carried it out.

Also sets of states that several apps share, and how long things last.
"""

from datetime import timedelta
from functools import cache

from django.db import models
from django.db.models import DateTimeField, F, Func

from common.tables import table_rows, table_steps
from mirror.errors import InvalidTransition
from upstream.events import DECISIONS


class MessageState(models.TextChoices):
    """The state of a message, as far as MultiMail has reported it."""

    HELD = "held"
    SCHEDULED = "scheduled"
    RECEIVED = "received"
    APPROVED = "approved"
    RELEASED = "released"
    SCHEDULED_APPROVED = "scheduled_approved", "Approved, scheduled"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained", "Complained of"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"
    GONE = "gone", "Decided elsewhere"


class MessageEvent(models.TextChoices):
    """What MultiMail, or a read of it, can report about a message."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    RECEIVED = "received"
    APPROVED = "approved"
    RELEASED = "released"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"
    GONE = "gone"
    # A read lists it as held, although it was considered gone or reported as ended.
    FOUND = "found"


# States of a message of which MultiMail has not reported how it was decided.
UNREPORTED = (MessageState.HELD, MessageState.GONE)
# The state before the first event.
START = ""


# Evidence that a message was sent wins over an earlier report that it ended without
# being sent.
_CORRECTIONS = table_steps(
    """
sent       | sent       | rejected cancelled failed
delivered  | delivered  | rejected cancelled failed
bounced    | bounced    | rejected cancelled
complained | complained | rejected cancelled failed
""",
    MessageState,
    MessageEvent,
)
# Webhooks can be lost or arrive in another order. So an event that skips steps is
# applied as if the events between had come. A pair that is missing here would move the
# message backwards: such an event is stored, and changes nothing.
MESSAGE_TRANSITIONS = _CORRECTIONS | table_steps(
    """
pending    | held               | start scheduled
scheduled  | scheduled          | start
received   | received           | start
# A message that was held and then received was released. The approval may have been
# reported without saying that it was of received mail.
received   | released           | held gone approved
pending    | released           | received
approved   | approved           | start scheduled held gone
scheduled  | scheduled_approved | approved
released   | released           | start held gone received approved
rejected   | rejected           | start scheduled held gone
sent       | sent               | start scheduled held gone approved scheduled_approved
cancelled  | cancelled          | start scheduled held gone approved scheduled_approved
failed     | failed             | start scheduled held gone approved scheduled_approved
delivered  | delivered          | start scheduled held gone approved scheduled_approved sent
# A message that bounces finally is reported as failed too, and of several recipients
# some may complain. Whichever event comes first, the state is the same in the end.
bounced    | bounced            | start scheduled held gone approved scheduled_approved sent
    delivered failed
complained | complained         | start scheduled held gone approved scheduled_approved sent
    delivered bounced
# MultiMail does not list it as held any more, or its webhook came long after it was
# held. Only a read can find out how it ended.
gone       | gone               | start held
# The only step backwards: the queue shows what MultiMail lists as held, whatever was
# reported before.
found      | held               | received approved released scheduled_approved sent
    delivered bounced complained rejected cancelled failed gone
""",
    MessageState,
    MessageEvent,
)
# By state, the events that are believed if only a webhook reports them, because a later
# event can still correct the end. Other events that end the message need a read to
# confirm them.
_NEXT_STEPS = {
    state: events.split()
    for state, events in table_rows("""
held               |
gone               |
scheduled          | pending
approved           | scheduled received released sent delivered
scheduled_approved |
rejected           |
cancelled          |
# A message that bounces finally is reported as failed too.
failed             | bounced
""")
}


def next_message_state(state: str, event: str) -> str | None:
    """Return the state after `event`; None if the event is too late to change anything."""
    return MESSAGE_TRANSITIONS.get((state, event))


def is_correction(state: str, event: str) -> bool:
    """Whether `event` shows that a message was sent, although `state` says that it
    ended without being sent.
    """
    return (state, event) in _CORRECTIONS


def needs_confirmation(state: str, event: str) -> bool:
    """Whether a read has to confirm `event`, because a webhook alone is no proof: the
    event would end a message, or correct how it ended.
    """
    if not next_message_state(state, event) or state not in _NEXT_STEPS:
        return False
    return event not in _NEXT_STEPS[state]


def contradicts(state: str, event: str) -> bool:
    """Whether `event`, which did not change `state`, contradicts it. An event that can
    come on the way to the state is only late, and does not.
    """
    return event not in _events_before(state)


@cache
def _events_before(state: str) -> frozenset[str]:
    """Return all events that can come on the way to a state, without steps backwards
    and corrections.
    """
    forward = {
        step: to
        for step, to in MESSAGE_TRANSITIONS.items()
        if step[1] != MessageEvent.FOUND and step not in _CORRECTIONS
    }
    before = {state}
    while (
        earlier := {source for (source, _), to in forward.items() if to in before}
        - before
    ):
        before |= earlier
    return frozenset(event for (_, event), to in forward.items() if to in before)


def implied_event(before: str, event: str) -> str:
    """Return the event that must have come between the state `before` and `event`, such
    as the approval of a held message that was sent; empty if there is none.
    """
    if before not in UNREPORTED:
        return ""
    if event in (
        MessageEvent.SENT,
        MessageEvent.DELIVERED,
        MessageEvent.BOUNCED,
        MessageEvent.COMPLAINED,
    ):
        return MessageEvent.APPROVED
    return MessageEvent.RELEASED if event == MessageEvent.RECEIVED else ""


def decision_behind(event: str) -> str:
    """Return the decision that an event proves: "approved" or "rejected"; empty if the
    event could also come for another reason.
    """
    if event in (
        MessageEvent.CANCELLED,
        MessageEvent.FAILED,
        MessageEvent.BOUNCED,
        MessageEvent.COMPLAINED,
    ):
        return ""
    return "rejected" if event == MessageEvent.REJECTED else "approved"


class DecisionState(models.TextChoices):
    """The state of a decision of this desk."""

    RECORDED = "recorded", "Sending"
    UNDONE = "undone"
    CALLING = "calling", "In progress"
    APPLIED = "applied", "Carried out"
    SUPERSEDED = "superseded", "Somebody else was first"
    REFUSED = "refused", "Not carried out"
    UNKNOWN = "unknown", "Outcome unknown"
    UNATTRIBUTED = "unattributed", "Decided, by whom not known"
    WITHDRAWN = "withdrawn", "May still be sent"


class Ending(models.TextChoices):
    """How a decision ended, where its state alone does not say. The words explain it to
    people.
    """

    # A person said what became of it, because MultiMail does not.
    BY_HAND = "by_hand", "MultiMail does not say what became of it."
    LEFT_AFTER_ALL = (
        "left_after_all",
        "It was sent after all: the approval was already on its way when it was withdrawn.",
    )
    LOST_TO_OURS = "lost_to_ours", "Another decision of this desk took effect."
    # MultiMail names none of several decisions that it may have carried out.
    NEWEST_ASSUMED = (
        "newest_assumed",
        "MultiMail does not say which of this desk's decisions it carried out: the newest is assumed.",
    )
    # A rejection whose reason MultiMail does not take.
    WITHOUT_REASON = (
        "without_reason",
        "MultiMail takes no reasons here, so the sender was not told this one.",
    )


class DecisionEvent(models.TextChoices):
    """What can happen to a decision of this desk."""

    UNDO = "undo"
    TAKE = "take"
    SUCCEED = "succeed"
    LOSE = "lose"
    REFUSE = "refuse"
    DOUBT = "doubt"
    POSTPONE = "postpone"
    SEEN_HELD = "seen_held"
    SEEN_ABSENT = "seen_absent"
    WITHDRAW = "withdraw"
    CONFIRM = "confirm"
    FOUND = "found"


DECISION_TRANSITIONS = table_steps(
    """
take        | calling      | recorded
# Of a call, only as long as it cannot have been sent.
undo        | undone       | recorded calling
# A decision that is recorded or withdrawn ends like this too, if an earlier call that
# seemed to have had no effect had one after all.
succeed     | applied      | recorded calling unknown unattributed withdrawn
lose        | superseded   | recorded calling unknown unattributed withdrawn
# For a withdrawn one, MultiMail's answer to its only call proves that the call had no
# effect.
refuse      | refused      | recorded calling withdrawn
withdraw    | withdrawn    | recorded calling unknown
# A recorded call was to be made again, but the message is not held any more, perhaps
# because of the earlier call.
doubt       | unknown      | recorded calling
postpone    | recorded     | calling
# Two reads showed the message as still held. Then a rejection is sent again
# automatically, and an approval when a person confirms it.
seen_held   | recorded     | unknown
confirm     | recorded     | unknown
seen_absent | unattributed | unknown
# The message had only been missing from reads, and a read lists it again.
found       | unknown      | unattributed
""",
    DecisionState,
    DecisionEvent,
)

# States of a decision that is to be carried out.
TO_CARRY_OUT = (DecisionState.RECORDED, DecisionState.CALLING)
# A message has at most one decision in one of these states.
LIVE_DECISIONS = (
    *TO_CARRY_OUT,
    DecisionState.UNKNOWN,
    DecisionState.UNATTRIBUTED,
)


def next_decision_state(state: str, event: str) -> str:
    """Return the state after `event`. Raises InvalidTransition for a step that the
    machine does not have.
    """
    try:
        return DECISION_TRANSITIONS[(state, event)]
    except KeyError:
        raise InvalidTransition(
            f"A decision that is {state!r} cannot {event!r}."
        ) from None


class Outcome(models.TextChoices):
    """The possible verdicts on a message. `send_back` is a reject whose reason asks for
    changes.
    """

    APPROVE = "approve"
    REJECT = "reject"
    SEND_BACK = "send_back", "Request changes"


def upstream_action(outcome: str) -> str:
    """Return MultiMail's word for an outcome: "approve" or "reject"."""
    return "approve" if outcome == Outcome.APPROVE else "reject"


# MultiMail's words for what became of a message.
_REPORTED = DECISIONS | {"cancelled": "cancelled"}


def reported_of(decision: str, status: str) -> str:
    """Return how MultiMail says that a message was decided: approved, rejected or
    cancelled; empty if it does not say so in known words.
    """
    return _REPORTED.get(decision.lower()) or _REPORTED.get(status.lower(), "")


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

# States of a decision that ended without an effect, as far as the desk knows.
WITHOUT_EFFECT = (
    DecisionState.UNDONE,
    DecisionState.REFUSED,
    DecisionState.SUPERSEDED,
)
# States of a decision that had no effect, or was withdrawn.
VOID = (*WITHOUT_EFFECT, DecisionState.WITHDRAWN)
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
