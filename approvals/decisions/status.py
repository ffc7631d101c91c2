"""Where a message is, in one sentence, and what the person who looks at it may do.

The commands check everything again; this only avoids offering what would be refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.utils import timezone

from approvals import local_messages
from approvals.decisions.later import delay_in_words, time_in_words
from approvals.decisions.outcomes import NO_REASON_TAKEN
from approvals.decisions.settle import (
    LEFT_AFTER_ALL,
    LOST_TO_OURS,
    WINNER_UNKNOWN,
    is_settled_by_hand,
)
from approvals.desk_messages import latest_decision, our_decisions
from approvals.models import Decision
from common.time_zones import local_time, zone_word
from mirror.models import Message
from mirror.states import DecisionState, MessageState


@dataclass(frozen=True)
class Status:
    """`word` is a word or two, `tone` one of amber, green, rose, blue, violet, plain;
    `detail` may be empty.
    """

    word: str
    tone: str
    detail: str = ""


_STATES: dict[str, Status] = {
    MessageState.HELD: Status("Held", "amber", "Waiting for a decision"),
    MessageState.SCHEDULED: Status("Scheduled", "blue", "Waits for its time"),
    MessageState.RECEIVED: Status("Received", "plain"),
    MessageState.APPROVED: Status("Approved", "green", "On its way to delivery"),
    MessageState.SCHEDULED_APPROVED: Status(
        "Approved", "green", "Sends at its scheduled time"
    ),
    MessageState.RELEASED: Status("Released", "green", "Given to the agent"),
    MessageState.SENT: Status("Sent", "green", "The mail server accepted it"),
    MessageState.DELIVERED: Status(
        "Delivered",
        "green",
        "Accepted by the recipient's mail server; not necessarily read",
    ),
    MessageState.BOUNCED: Status(
        "Bounced", "rose", "The recipient's server refused it"
    ),
    MessageState.COMPLAINED: Status(
        "Complained of", "rose", "The recipient marked it as spam"
    ),
    MessageState.REJECTED: Status("Rejected", "rose", "Nothing was sent"),
    MessageState.CANCELLED: Status(
        "Cancelled", "plain", "Withdrawn by the sender; nothing was sent"
    ),
    MessageState.FAILED: Status(
        "Failed", "rose", "It was approved, but could not be sent"
    ),
    MessageState.GONE: Status(
        "Decided elsewhere", "violet", "No longer held; how it was decided is not known"
    ),
}
BEING_CHECKED = "being checked with MultiMail"
_DECISIONS: dict[str, tuple[str, str]] = {
    DecisionState.RECORDED: ("Sending", "blue"),
    DecisionState.CALLING: ("Sending", "blue"),
    DecisionState.UNKNOWN: ("Outcome unknown", "violet"),
    DecisionState.UNATTRIBUTED: ("Outcome unknown", "violet"),
    DecisionState.WITHDRAWN: ("May still be sent", "violet"),
}
LEFT = "Sent after all, although it was withdrawn"
FOR_LATER = "Approved for later"
_TONES = {"approve": "green", "reject": "rose", "send_back": "rose"}
_REJECTING = {"reject": "Rejecting", "send_back": "Requesting changes"}


def status_of(message: Message, decision: Decision | None) -> Status:
    """Return where `message` is, given its newest decision."""
    plain = _STATES[message.state]
    if said := reported_in_words(message):
        plain = replace(plain, detail=f"{said}; {BEING_CHECKED}")
    if message.is_local and not message.is_held:
        word = local_messages.feature().word
        return Status(word, "blue", "It is over; nothing was sent")
    if decision is None:
        return _with_upstream(message, plain)
    who = decision.giver
    if decision.explanation == LEFT_AFTER_ALL:
        return Status(
            decision.result if _is_mirror_behind(message, decision) else plain.word,
            "rose",
            LEFT,
        )
    if decision.state in _DECISIONS and message.state in (
        MessageState.HELD,
        MessageState.GONE,
    ):
        return _under_way(decision, who)
    if message.state == MessageState.GONE and is_settled_by_hand(decision):
        if decision.state == DecisionState.APPLIED:
            return Status(
                decision.result, _TONES[decision.outcome], decision.explanation
            )
        return Status("Not carried out", "violet", decision.explanation)
    if message.is_held:
        if decision.state == DecisionState.REFUSED:
            return replace(plain, detail=f"Held again: {decision.explanation}")
        if decision.state != DecisionState.APPLIED:
            return plain
        if _is_mirror_behind(message, decision):
            return Status(
                decision.result,
                _TONES[decision.outcome],
                f"By {who}{_for_later(decision)}",
            )
        return replace(
            plain, detail=f"Held again, although it was {decision.word} by {who}"
        )
    if decision.state == DecisionState.APPLIED:
        word = "Changes requested" if decision.outcome == "send_back" else plain.word
        if decision.rule == "expiry" and message.state == MessageState.REJECTED:
            word = "Expired"
        detail = f"{decision.result} by {who}{_for_later(decision)}"
        if decision.explanation == WINNER_UNKNOWN:
            detail += ", the newest of several decisions (MultiMail does not say which counted)"
        if decision.explanation.startswith(NO_REASON_TAKEN):
            detail += f". {NO_REASON_TAKEN}"
        if message.state == MessageState.DELIVERED:
            # A mail server accepted it; whether it was read is not known.
            detail += f". {plain.detail}"
        return Status(word, plain.tone, detail)
    if decision.state == DecisionState.UNATTRIBUTED:
        return Status(plain.word, "violet", decision.explanation)
    # A person's statement counts until MultiMail reports.
    if (
        decision.state == DecisionState.SUPERSEDED
        and decision.explanation
        and not is_settled_by_hand(decision)
    ):
        return Status(plain.word, plain.tone, decision.explanation)
    return _with_upstream(message, plain)


def reported_in_words(message: Message) -> str:
    """Return what a webhook reported of a held message and no read has confirmed yet;
    empty where it did not.
    """
    if not message.reported or not message.is_held:
        return ""
    return f"Said to be {message.reported} elsewhere"


def _is_mirror_behind(message: Message, decision: Decision) -> bool:
    """Whether the mirror does not show the effect of this applied decision yet."""
    is_behind = message.is_held and decision.changed_at >= message.changed_at
    return is_behind or message.state == MessageState.GONE


def _for_later(decision: Decision) -> str:
    """Return the time that was chosen, and how late it was carried out; empty where
    none was.
    """
    if decision.later_at is None:
        return ""
    words = f" for {time_in_words(decision.later_at, decision.later_zone)}"
    delay = delay_in_words(decision, decision.changed_at)
    return f"{words}, sent {delay}" if delay else words


def _under_way(decision: Decision, who: str) -> Status:
    if decision.is_for_later:
        when = time_in_words(decision.later_at, decision.later_zone)
        return Status(FOR_LATER, "blue", f"Sends {when}, approved by {who}")
    if decision.is_stoppable:
        due = local_time(decision.due_at)
        day = (
            ""
            if due.date() == local_time(timezone.now()).date()
            else f"on {due:%-d %b} "
        )
        at = f"{day}at {due:%H:%M} {zone_word(due)}"
        return Status(
            "Approved",
            "blue",
            f"Approved by {who}. Leaves {at} unless somebody stops it",
        )
    word, tone = _DECISIONS[decision.state]
    if word == "Sending":
        word = _REJECTING.get(decision.outcome, word)
    if decision.state == DecisionState.WITHDRAWN and decision.outcome != "approve":
        word = "May still be rejected"
    if (
        decision.state == DecisionState.UNKNOWN
        and decision.outcome == "approve"
        and decision.has_been_read_as_held
    ):
        return Status(word, tone, "Still held after two checks: it can be sent again")
    return Status(word, tone, decision.explanation or f"{decision.result} by {who}")


def _with_upstream(message: Message, plain: Status) -> Status:
    who = message.upstream_decided_by
    if not who or message.state not in _DECIDED:
        return plain
    how = f". {plain.detail}" if message.state == MessageState.DELIVERED else ""
    return replace(plain, detail=f"Decided outside this desk by {who}{how}")


# States that a decision alone leads to; what came later is said first.
_DECIDED = (
    MessageState.APPROVED,
    MessageState.REJECTED,
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.RELEASED,
)
_OPEN_AGAIN = (DecisionState.UNDONE, DecisionState.REFUSED)


@dataclass(frozen=True)
class AvailableActions:
    """`kind` is open, later, leaving, calling, again, unknown, confirm, unattributed,
    withdrawn or ended.
    """

    kind: str
    takes_verdict: bool = False
    can_approve: bool = False
    can_undo: bool = False
    can_withdraw: bool = False
    can_confirm: bool = False
    can_settle: bool = False
    can_look: bool = False

    @property
    def is_moving(self) -> bool:
        """Whether the state changes soon without a person, so that an open page should
        refresh.
        """
        return self.kind in ("leaving", "calling", "again", "unknown", "confirm")


def available_actions(
    message: Message,
    decision: Decision | None,
    *,
    is_reviewer: bool,
    may_look: bool,
    came_back: bool = False,
) -> AvailableActions:
    """Return what may be done with the message, given its newest decision.

    `came_back`: it was decided and considered gone, and a read lists it as held again.
    """
    is_held = message.is_held
    is_approval = decision is not None and decision.is_approval
    if decision is None or decision.state in _OPEN_AGAIN or came_back:
        if not is_held:
            return AvailableActions(
                "ended", can_look=may_look and message.state == MessageState.GONE
            )
        return AvailableActions(
            "open",
            takes_verdict=True,
            can_approve=not (came_back and is_approval),
            can_look=may_look and message.hydrated_at is None,
        )
    # What a standing approval decided, whoever sees it may stop.
    can_stop = decision.standing_id is not None or (is_reviewer and not decision.rule)
    if decision.state in (DecisionState.RECORDED, DecisionState.CALLING):
        if decision.state == DecisionState.CALLING:
            kind = "calling"
        elif decision.may_have_left:
            kind = "again"
        else:
            kind = "later" if decision.is_for_later else "leaving"
        # Before a call may have left it can be undone, afterwards only be withdrawn.
        return AvailableActions(
            kind,
            can_undo=can_stop and not decision.may_have_left,
            can_withdraw=can_stop and decision.may_have_left,
        )
    if decision.state == DecisionState.UNKNOWN:
        is_proved = is_approval and decision.has_been_read_as_held
        return AvailableActions(
            "confirm" if is_proved else "unknown",
            can_withdraw=can_stop,
            can_confirm=is_proved and is_reviewer,
            can_look=may_look,
        )
    if decision.state == DecisionState.UNATTRIBUTED:
        return AvailableActions("unattributed", can_settle=may_look, can_look=may_look)
    if decision.state == DecisionState.WITHDRAWN:
        is_still_held = is_held and decision.has_been_read_as_held
        return AvailableActions(
            "withdrawn",
            takes_verdict=is_held,
            can_approve=is_still_held,
            can_settle=may_look and not is_held,
            can_look=may_look,
        )
    return AvailableActions("ended")


def left_after_all(decisions: Iterable[Decision]) -> Decision | None:
    """Return the approval that was withdrawn and took effect all the same, if there is
    one.
    """
    return next((one for one in decisions if one.explanation == LEFT_AFTER_ALL), None)


def shown_status(message: Message) -> Status:
    """Return where the message is; that it left although it was withdrawn overrides its
    later decisions.
    """
    newest = latest_decision(message)
    left = left_after_all(our_decisions(message))
    if left is None:
        return status_of(message, newest)
    lost = newest is not None and newest.state == DecisionState.SUPERSEDED
    return replace(
        status_of(message, left if lost else newest), tone="rose", detail=LEFT
    )


def still_withdrawn(
    decisions: Iterable[Decision], newest: Decision | None
) -> Decision | None:
    """Return an older decision that was withdrawn and may still take effect, beside the
    newest one.
    """
    return next(
        (
            one
            for one in decisions
            if one.state == DecisionState.WITHDRAWN and one != newest
        ),
        None,
    )


def how_lost(decision: Decision | None) -> str:
    """Return, for the middle of a sentence, why a decision that was not refused had no
    effect.
    """
    if decision is None or decision.state != DecisionState.SUPERSEDED:
        return ""
    if is_settled_by_hand(decision):
        return "it was not carried out"
    if decision.explanation in (LOST_TO_OURS, WINNER_UNKNOWN):
        return "another decision of this desk was first"
    return "somebody else was first"
