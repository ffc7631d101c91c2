"""What pages and cards show about the state of a message: its status in words, with a
colour, computed from the mirror's state and this desk's decisions; and which actions a
person is offered.

The commands check permissions again. `available_actions` only avoids offering actions
that they would refuse.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from django.conf import settings
from django.utils import timezone

from approvals.decisions.later import delay_in_words, time_in_words
from approvals.desk_messages import latest_decision, our_decisions
from approvals.models import Decision
from common.endings import EndedBy
from common.tables import table_rows
from common.time_zones import local_time, zone_word
from mirror.models import Message
from mirror.states import (
    LET_GO,
    ON_ITS_WAY,
    TO_CARRY_OUT,
    UNREPORTED,
    UNSETTLED,
    DecisionState,
    Ending,
    MessageState,
    Outcome,
)

# What the status of a message can be.
StatusCode = StrEnum(
    "StatusCode",
    """
    HELD SCHEDULED RECEIVED APPROVED RELEASED SENT DELIVERED BOUNCED COMPLAINED REJECTED
    CHANGES_REQUESTED EXPIRED EDITED CANCELLED FAILED GONE TESTED FOR_LATER SENDING
    REJECTING REQUESTING UNKNOWN MAY_BE_SENT MAY_BE_REJECTED NOT_CARRIED_OUT REPORTED
    """,
)
# The words that people see.
_WORDS = {
    "held": "Held",
    "scheduled": "Scheduled",
    "received": "Received",
    "approved": "Approved",
    "released": "Released",
    "sent": "Sent",
    "delivered": "Delivered",
    "bounced": "Bounced",
    "complained": "Complained of",
    "rejected": "Rejected",
    "changes_requested": "Changes requested",
    "expired": "Expired, nobody decided",
    # Rejected, because an edited version replaces it.
    "edited": "Edited",
    "cancelled": "Cancelled",
    "failed": "Failed",
    "gone": "Decided elsewhere",
    # Of a test message that is let go.
    "tested": "Test: recorded, not sent",
    # While a decision is under way, or in doubt.
    "for_later": "Approved for later",
    "sending": "Sending",
    "rejecting": "Rejecting",
    "requesting": "Requesting changes",
    "unknown": "Outcome unknown",
    "may_be_sent": "May still be sent",
    "may_be_rejected": "May still be rejected",
    "not_carried_out": "Not carried out",
    # What a webhook reports, and no read has confirmed.
    "reported": "Said to be decided",
}


# A message was not sent, and that is final.
ENDED = (
    StatusCode.REJECTED,
    StatusCode.CHANGES_REQUESTED,
    StatusCode.EXPIRED,
    StatusCode.EDITED,
)


@dataclass(frozen=True)
class Status:
    """The status of a message. `tone` is its colour: amber, green, rose, blue, violet
    or plain; `detail` a sentence without its full stop, or empty. `said` is shown
    instead of the words of the code, where there is more to say. `repeats_word` says that
    the detail begins with the word, as in "Approved by Ana".
    """

    code: StatusCode
    tone: str
    detail: str = ""
    said: str = ""
    repeats_word: bool = field(default=False, kw_only=True)

    @property
    def word(self) -> str:
        """One to a few words for people."""
        return self.said or _WORDS[self.code]

    @property
    def css_classes(self) -> str:
        """The CSS classes for shape and colour."""
        return f"{self.tone} ended" if self.code in ENDED else self.tone


# By the mirror's state.
BY_STATE: dict[str, Status] = {
    MessageState(state): Status(
        # One that was approved for later is approved.
        StatusCode(state.removeprefix("scheduled_")),
        *words,
    )
    for state, *words in table_rows(
        """
held | amber | Waiting for a decision
scheduled | blue | Waits for its time
received | plain
approved | green | On its way to delivery
scheduled_approved | green | Sends at its scheduled time
released | green | Given to the agent
sent | green | The mail server accepted it
delivered | green | Accepted by the recipient's mail server; not necessarily read
bounced | rose | The recipient's server refused it
complained | rose | The recipient marked it as spam
rejected | rose | Nothing was sent
cancelled | plain | Withdrawn by the sender; nothing was sent
failed | rose | It could not be sent
gone | violet | No longer held; how it was decided is not known
"""
    )
}
# By outcome: the status while it is carried out, once it is, and while it may still be,
# although it was withdrawn.
_CODES = {
    outcome: list(map(StatusCode, codes))
    for outcome, *codes in table_rows("""
approve | sending | approved | may_be_sent
reject | rejecting | rejected | may_be_rejected
send_back | requesting | changes_requested | may_be_rejected
edit | edited | edited | may_be_rejected
""")
}
TESTED = Status(StatusCode.TESTED, "plain", "Nobody receives it")
LEFT = "Took effect after all, although it was withdrawn"


def _codes_of(decision: Decision) -> list[StatusCode]:
    return _CODES["edit" if decision.is_edit else decision.outcome]


def status_of(message: Message, decision: Decision | None) -> Status:
    """Return the status of a message, given its newest decision of this desk. What is
    said to have happened to it since comes first.
    """
    by_state = BY_STATE[message.state]
    if message.sandbox and by_state.tone == "green" and not message.is_inbound:
        by_state = TESTED
    if message.reported and not message.is_held:
        detail = f"Being checked with MultiMail. Until now: {by_state.word.lower()}"
        said = f"Said to be {message.reported}"
        return Status(StatusCode.REPORTED, by_state.tone, detail, said)
    if report := reported_in_words(message):
        by_state = replace(by_state, detail=f"{report}; being checked with MultiMail")
    if decision is None:
        return _with_upstream(message, by_state)
    who = decision.giver
    _, code, _ = _codes_of(decision)
    result = Status(code, "green" if decision.is_approval else "rose")
    if decision.ending == Ending.LEFT_AFTER_ALL:
        is_behind = _is_mirror_behind(message, decision)
        return replace(result if is_behind else by_state, tone="rose", detail=LEFT)
    if decision.state in UNSETTLED and message.state in UNREPORTED:
        return _under_way(decision, who)
    if message.state == MessageState.GONE and decision.ending == Ending.BY_HAND:
        if decision.state != DecisionState.APPLIED:
            result = Status(StatusCode.NOT_CARRIED_OUT, "violet")
        return replace(result, detail=decision.explanation)
    if message.is_held:
        if decision.state == DecisionState.REFUSED:
            return replace(by_state, detail=f"Held again: {decision.explanation}")
        if decision.state != DecisionState.APPLIED:
            return by_state
        if _is_mirror_behind(message, decision):
            return replace(result, detail=f"By {who}{_for_later(decision)}")
        return replace(
            by_state, detail=f"Held again, although it was {decision.word} by {who}"
        )
    # If MultiMail reported the opposite of what the decision did, its report counts.
    is_contradicted = (
        message.state == MessageState.REJECTED
        if decision.is_approval
        else message.state in LET_GO
    )
    if decision.state == DecisionState.APPLIED and not is_contradicted:
        if decision.outcome != Outcome.SEND_BACK and not decision.is_edit:
            code = by_state.code
        if is_expiry(decision.ended_by, message):
            return replace(by_state, code=StatusCode.EXPIRED)
        detail = f"{decision.result} by {who}{_for_later(decision)}"
        if decision.ending == Ending.NEWEST_ASSUMED:
            detail += ", the newest of several decisions (MultiMail does not say which counted)"
        if decision.ending == Ending.WITHOUT_REASON:
            detail += f". {Ending.WITHOUT_REASON.label}"
        if message.state == MessageState.DELIVERED:
            # Say that delivered does not mean read.
            detail += f". {by_state.detail}"
        return Status(code, by_state.tone, detail, repeats_word=code == result.code)
    if decision.state == DecisionState.UNATTRIBUTED:
        return replace(by_state, tone="violet", detail=decision.explanation)
    # What a person recorded by hand counts only until MultiMail reports.
    if (
        decision.state == DecisionState.SUPERSEDED
        and decision.explanation
        and decision.ending != Ending.BY_HAND
    ):
        return replace(by_state, detail=decision.explanation)
    return _with_upstream(message, by_state)


def is_expiry(ended_by: str, message: Message) -> bool:
    """Whether a message was rejected only because it expired."""
    return ended_by == EndedBy.EXPIRY and message.state == MessageState.REJECTED


def reported_in_words(message: Message) -> str:
    """Return in words that a webhook reported the end of a held message, which no read
    has confirmed yet; empty if none did.
    """
    if not message.reported or not message.is_held:
        return ""
    return f"Said to be {message.reported} elsewhere"


def _is_mirror_behind(message: Message, decision: Decision) -> bool:
    """Whether the mirror does not show yet that this decision took effect."""
    is_behind = message.is_held and decision.changed_at >= message.changed_at
    return is_behind or message.state == MessageState.GONE


def _for_later(decision: Decision) -> str:
    """Return in words for when a decision was chosen to be carried out, and how late it
    was, to be added to a sentence; empty if it was not for later.
    """
    if decision.later_at is None:
        return ""
    words = f" for {time_in_words(decision.later_at, decision.later_zone)}"
    delay = delay_in_words(decision, decision.changed_at)
    return f"{words}, confirmed {delay}" if delay else words


def _under_way(decision: Decision, who: str) -> Status:
    # The status while the decision of `who` was not carried out, or may not have been.
    if decision.is_for_later:
        when = time_in_words(decision.later_at, decision.later_zone)
        detail = f"Sends {when}, approved by {who}"
        return Status(StatusCode.FOR_LATER, "blue", detail)
    if decision.is_stoppable:
        due = local_time(decision.due_at)
        day = (
            ""
            if due.date() == local_time(timezone.now()).date()
            else f"on {due:%-d %b} "
        )
        at = f"{day}at {due:%H:%M} {zone_word(due)}"
        detail = f"Approved by {who}. Leaves {at} unless somebody stops it"
        return Status(StatusCode.APPROVED, "blue", detail, repeats_word=True)
    code, tone = StatusCode.UNKNOWN, "violet"
    going, done, withdrawn = _codes_of(decision)
    if decision.state in TO_CARRY_OUT:
        code, tone = going, "blue"
    elif decision.state == DecisionState.WITHDRAWN:
        code = withdrawn
    if (
        decision.state == DecisionState.UNKNOWN
        and decision.outcome == "approve"
        and decision.has_been_read_as_held
    ):
        return Status(code, tone, "Still held after two checks: it can be sent again")
    if decision.explanation:
        return Status(code, tone, decision.explanation)
    return Status(code, tone, f"{decision.result} by {who}", repeats_word=code == done)


def _with_upstream(message: Message, plain: Status) -> Status:
    # Adds who decided the message outside this desk, if MultiMail reports that.
    if is_expiry(message.upstream_ended_by, message):
        detail = f"It expired outside this desk. {plain.detail}"
        return replace(plain, code=StatusCode.EXPIRED, detail=detail)
    who = message.upstream_decided_by
    if not who or message.state not in _DECIDED:
        return plain
    how = f". {plain.detail}" if message.state == MessageState.DELIVERED else ""
    return replace(plain, detail=f"Decided outside this desk by {who}{how}")


# The states in which it matters who decided. In others, such as bounced, what happened
# later is more important.
_DECIDED = (
    MessageState.APPROVED,
    MessageState.REJECTED,
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.RELEASED,
)
# After a decision in these states the message can be decided again.
_OPEN_AGAIN = (DecisionState.UNDONE, DecisionState.REFUSED)


@dataclass(frozen=True)
class AvailableActions:
    """What the page of a message offers, and as `kind` how far its decision is:

    - open: the message can be decided
    - later, leaving: the decision waits for its chosen time, or to be carried out now
    - calling: the call to MultiMail is being made
    - again: the call is to be repeated, and an earlier one may have left
    - unknown, confirm: the outcome is not known; with confirm, reads have shown that
      the message is still held, so that an approval can be sent again
    - unattributed: the message is no longer held, and nothing says why
    - withdrawn: the decision was stopped, but may still take effect
    - ended: nothing is left to decide
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
    may_look: bool = False,
    came_back: bool = False,
) -> AvailableActions:
    """Return what the page of a message offers, given its newest decision of this desk.

    `may_look` says whether the person may have MultiMail asked about it. `came_back`
    says that it was decided, and is held again according to a read.
    """
    is_held = message.is_held
    is_approval = decision is not None and decision.is_approval
    has_taken_effect = (
        decision is not None and is_approval and decision.state == DecisionState.APPLIED
    )
    if decision is None or decision.state in _OPEN_AGAIN or came_back:
        if not is_held:
            return AvailableActions(
                "ended", can_look=may_look and message.state == MessageState.GONE
            )
        return AvailableActions(
            "open",
            takes_verdict=True,
            can_approve=not (came_back and has_taken_effect),
            can_look=may_look and message.hydrated_at is None,
        )
    # Everybody who sees the message may stop what a pass decided.
    can_stop = bool(decision.pass_id) or (is_reviewer and not decision.rule)
    if decision.state in TO_CARRY_OUT:
        if decision.state == DecisionState.CALLING:
            kind = "calling"
        elif decision.may_have_left:
            kind = "again"
        else:
            kind = "later" if decision.is_for_later else "leaving"
        # It can be undone until a call may have left, and after that only be withdrawn.
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
    """Return the approval that was withdrawn and took effect all the same; None if
    there is none.
    """
    return next((one for one in decisions if one.ending == Ending.LEFT_AFTER_ALL), None)


def shown_status(message: Message) -> Status:
    """Return the status of a message. If it was sent although the approval was
    withdrawn, the status says so, whatever was decided later.
    """
    newest = latest_decision(message)
    left = left_after_all(our_decisions(message))
    if left is None:
        status = status_of(message, newest)
        if why := not_sent_because(message):
            status = replace(
                status,
                tone="amber",
                said="Waits to be sent",
                detail=f"{status.detail}. {why}",
                repeats_word=False,
            )
        return status
    newest_lost = newest is not None and newest.state == DecisionState.SUPERSEDED
    return replace(
        status_of(message, left if newest_lost else newest), tone="rose", detail=LEFT
    )


def not_sent_because(message: Message) -> str:
    """Return why a message on its way was not sent yet, without a full stop; empty if
    nothing is wrong.
    """
    if message.state not in ON_ITS_WAY:
        return ""
    why = message.mail_error.rstrip(".")
    # The gateway does not try then, so that it has no error.
    is_to_be_mailed = not (message.is_inbound or message.sandbox)
    if (
        not (why or settings.EMAIL_URL)
        and is_to_be_mailed
        and message.state != MessageState.GONE
        and message.connection.is_our_gateway
    ):
        why = "no mail server is set"
    return f"Not sent yet: {why}" if why else ""


def still_withdrawn(
    decisions: Iterable[Decision], newest: Decision | None
) -> Decision | None:
    """Return a withdrawn decision, other than the newest, that may still take effect;
    None if there is none.
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
    """Return why a decision was superseded, in words for the middle of a sentence;
    empty if it was not.
    """
    if decision is None or decision.state != DecisionState.SUPERSEDED:
        return ""
    if decision.ending == Ending.BY_HAND:
        return "it was not carried out"
    if decision.ending in (Ending.LOST_TO_OURS, Ending.NEWEST_ASSUMED):
        return "another decision of this desk was first"
    return "somebody else was first"
