"""The two state machines, each one mapping. Messages mirror what MultiMail did;
decisions are ours.
"""

from collections.abc import Mapping
from functools import cache

from django.db import models

from mirror.errors import InvalidTransition


class MessageState(models.TextChoices):
    """Where a message is, as far as MultiMail has reported."""

    HELD = "held", "Held"
    SCHEDULED = "scheduled", "Scheduled"
    RECEIVED = "received", "Received"
    APPROVED = "approved", "Approved"
    RELEASED = "released", "Released"
    SCHEDULED_APPROVED = "scheduled_approved", "Approved, scheduled"
    SENT = "sent", "Sent"
    DELIVERED = "delivered", "Delivered"
    BOUNCED = "bounced", "Bounced"
    COMPLAINED = "complained", "Complained of"
    REJECTED = "rejected", "Rejected"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"
    GONE = "gone", "Decided elsewhere"


class MessageEvent(models.TextChoices):
    """What can be reported of a message."""

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
    # A read lists it although it was considered gone, or had been reported as ended.
    FOUND = "found"


START = ""
_S = MessageState
_E = MessageEvent
_OPEN = (START, _S.SCHEDULED, _S.HELD, _S.GONE)
_APPROVED = (_S.APPROVED, _S.SCHEDULED_APPROVED)
_UNSENT = (_S.REJECTED, _S.CANCELLED, _S.FAILED)


def _from(states: tuple[str, ...], event: str, to: str) -> dict[tuple[str, str], str]:
    return {(state, event): to for state in states}


# Whatever had been reported, evidence that a message left wins over an end without
# sending.
_CORRECTIONS: Mapping[tuple[str, str], str] = {
    **_from(_UNSENT, _E.SENT, _S.SENT),
    **_from(_UNSENT, _E.DELIVERED, _S.DELIVERED),
    **_from((_S.REJECTED, _S.CANCELLED), _E.BOUNCED, _S.BOUNCED),
    **_from(_UNSENT, _E.COMPLAINED, _S.COMPLAINED),
}
# An event that skips ahead is applied as if those between had come, because webhooks
# are lost and reordered. A pair that is not listed would move the message backwards:
# the event is stored and changes nothing.
MESSAGE_TRANSITIONS: Mapping[tuple[str, str], str] = {
    **_from((START, _S.SCHEDULED), _E.PENDING, _S.HELD),
    **_from((START,), _E.SCHEDULED, _S.SCHEDULED),
    **_from((START,), _E.RECEIVED, _S.RECEIVED),
    # What could be received after it was held was released; an approval may have been
    # reported without its direction.
    **_from((_S.HELD, _S.GONE, _S.APPROVED), _E.RECEIVED, _S.RELEASED),
    **_from((_S.RECEIVED,), _E.PENDING, _S.RELEASED),
    **_from(_OPEN, _E.APPROVED, _S.APPROVED),
    **_from((_S.APPROVED,), _E.SCHEDULED, _S.SCHEDULED_APPROVED),
    **_from(
        (START, _S.HELD, _S.GONE, _S.RECEIVED, _S.APPROVED), _E.RELEASED, _S.RELEASED
    ),
    **_from(_OPEN, _E.REJECTED, _S.REJECTED),
    **_from((*_OPEN, *_APPROVED), _E.SENT, _S.SENT),
    **_from((*_OPEN, *_APPROVED), _E.CANCELLED, _S.CANCELLED),
    **_from((*_OPEN, *_APPROVED), _E.FAILED, _S.FAILED),
    **_from((*_OPEN, *_APPROVED, _S.SENT), _E.DELIVERED, _S.DELIVERED),
    # One that bounces for good fails too, and some of several recipients may complain:
    # each pair ends in one way.
    **_from(
        (*_OPEN, *_APPROVED, _S.SENT, _S.DELIVERED, _S.FAILED), _E.BOUNCED, _S.BOUNCED
    ),
    **_from(
        (*_OPEN, *_APPROVED, _S.SENT, _S.DELIVERED, _S.BOUNCED),
        _E.COMPLAINED,
        _S.COMPLAINED,
    ),
    # Reported long after it was held; only a read can find its state now.
    **_from((START, _S.HELD), _E.GONE, _S.GONE),
    # The one step back: whatever was concluded or reported, the queue has what
    # MultiMail lists as held.
    **_from(
        tuple(state for state in _S if state not in (_S.SCHEDULED, _S.HELD)),
        _E.FOUND,
        _S.HELD,
    ),
    **_CORRECTIONS,
}
# Events that a webhook alone may tell of a message in these states, because a later
# event can still end it otherwise.
_NEXT_STEPS: Mapping[str, tuple[str, ...]] = {
    _S.HELD: (),
    _S.GONE: (),
    _S.SCHEDULED: (_E.PENDING,),
    _S.APPROVED: (_E.SCHEDULED, _E.RECEIVED, _E.RELEASED, _E.SENT, _E.DELIVERED),
    _S.SCHEDULED_APPROVED: (),
    _S.REJECTED: (),
    _S.CANCELLED: (),
    # One that bounces for good fails too.
    _S.FAILED: (_E.BOUNCED,),
}


def next_message_state(state: str, event: str) -> str | None:
    """Return the state after `event`, or None when the event comes too late to change
    anything.
    """
    return MESSAGE_TRANSITIONS.get((state, event))


def is_correction(state: str, event: str) -> bool:
    """Whether `event` tells that a message left which had ended without being sent."""
    return (state, event) in _CORRECTIONS


def needs_confirmation(state: str, event: str) -> bool:
    """Whether `event` ends a message that has not ended, or corrects how it ended: a
    webhook alone proves neither.
    """
    if next_message_state(state, event) is None or state not in _NEXT_STEPS:
        return False
    return event not in _NEXT_STEPS[state]


def contradicts(state: str, event: str) -> bool:
    """Whether `event`, which did not move a message from `state`, is on no path to that
    state.

    An event on a path to the state is only late, and brings nothing new.
    """
    return event not in _events_before(state)


@cache
def _events_before(state: str) -> frozenset[str]:
    """Return the events of all paths forward that lead to a state."""
    forward = {
        step: to
        for step, to in MESSAGE_TRANSITIONS.items()
        if step[1] != _E.FOUND and step not in _CORRECTIONS
    }
    before = {state}
    while (
        more := {source for (source, _), to in forward.items() if to in before} - before
    ):
        before |= more
    return frozenset(event for (_, event), to in forward.items() if to in before)


def implied_event(before: str, event: str) -> str:
    """Return the event that must have happened in between: a held message that left was
    approved.
    """
    if before not in (_S.HELD, _S.GONE):
        return ""
    if event in (_E.SENT, _E.DELIVERED, _E.BOUNCED, _E.COMPLAINED):
        return _E.APPROVED
    return _E.RELEASED if event == _E.RECEIVED else ""


def decision_behind(event: str) -> str:
    """Return which decision alone leads to an event: approved, rejected; empty where
    something else has to happen.
    """
    if event in (_E.CANCELLED, _E.FAILED, _E.BOUNCED, _E.COMPLAINED):
        return ""
    return "rejected" if event == _E.REJECTED else "approved"


class DecisionState(models.TextChoices):
    """The state of one of our decisions."""

    RECORDED = "recorded", "Sending"
    UNDONE = "undone", "Undone"
    CALLING = "calling", "In progress"
    APPLIED = "applied", "Carried out"
    SUPERSEDED = "superseded", "Somebody else was first"
    REFUSED = "refused", "Not carried out"
    UNKNOWN = "unknown", "Outcome unknown"
    UNATTRIBUTED = "unattributed", "Decided, by whom not known"
    WITHDRAWN = "withdrawn", "May still be sent"


class DecisionEvent(models.TextChoices):
    """What can happen to one of our decisions."""

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


_D = DecisionState
_W = DecisionEvent
DECISION_TRANSITIONS: Mapping[tuple[str, str], str] = {
    (_D.RECORDED, _W.UNDO): _D.UNDONE,
    (_D.RECORDED, _W.TAKE): _D.CALLING,
    # After a call that was considered without effect, but had one.
    (_D.RECORDED, _W.SUCCEED): _D.APPLIED,
    (_D.RECORDED, _W.LOSE): _D.SUPERSEDED,
    (_D.RECORDED, _W.REFUSE): _D.REFUSED,
    (_D.RECORDED, _W.WITHDRAW): _D.WITHDRAWN,
    # It was to be sent again, but the message is no longer held, perhaps by the earlier
    # call.
    (_D.RECORDED, _W.DOUBT): _D.UNKNOWN,
    # Only before its call can have left.
    (_D.CALLING, _W.UNDO): _D.UNDONE,
    (_D.CALLING, _W.SUCCEED): _D.APPLIED,
    (_D.CALLING, _W.LOSE): _D.SUPERSEDED,
    (_D.CALLING, _W.REFUSE): _D.REFUSED,
    (_D.CALLING, _W.DOUBT): _D.UNKNOWN,
    (_D.CALLING, _W.POSTPONE): _D.RECORDED,
    (_D.CALLING, _W.WITHDRAW): _D.WITHDRAWN,
    (_D.UNKNOWN, _W.SUCCEED): _D.APPLIED,
    (_D.UNKNOWN, _W.LOSE): _D.SUPERSEDED,
    # Read twice as still held. A reject goes out again by itself, an approve when a
    # person says so.
    (_D.UNKNOWN, _W.SEEN_HELD): _D.RECORDED,
    (_D.UNKNOWN, _W.CONFIRM): _D.RECORDED,
    (_D.UNKNOWN, _W.SEEN_ABSENT): _D.UNATTRIBUTED,
    (_D.UNKNOWN, _W.WITHDRAW): _D.WITHDRAWN,
    (_D.UNATTRIBUTED, _W.SUCCEED): _D.APPLIED,
    (_D.UNATTRIBUTED, _W.LOSE): _D.SUPERSEDED,
    # It was concluded only from absence, and a read lists the message again.
    (_D.UNATTRIBUTED, _W.FOUND): _D.UNKNOWN,
    (_D.WITHDRAWN, _W.SUCCEED): _D.APPLIED,
    (_D.WITHDRAWN, _W.LOSE): _D.SUPERSEDED,
    # The answer to its only call proves that it had no effect.
    (_D.WITHDRAWN, _W.REFUSE): _D.REFUSED,
}

# A decision in one of these still counts: a message has at most one of them.
LIVE_DECISIONS = (_D.RECORDED, _D.CALLING, _D.UNKNOWN, _D.UNATTRIBUTED)


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

    APPROVE = "approve", "Approve"
    REJECT = "reject", "Reject"
    SEND_BACK = "send_back", "Request changes"


def upstream_action(outcome: str) -> str:
    """Return the word that MultiMail knows for `outcome`."""
    return "approve" if outcome == Outcome.APPROVE else "reject"


_REPORTED = {
    "approve": "approved",
    "approved": "approved",
    "reject": "rejected",
    "rejected": "rejected",
    "cancelled": "cancelled",
}


def reported_of(decision: str, status: str) -> str:
    """Return what MultiMail says became of a message: approved, rejected, cancelled;
    empty for words not known.
    """
    return _REPORTED.get(decision.lower()) or _REPORTED.get(status.lower(), "")
