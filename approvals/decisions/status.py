"""One sentence for where a message is, said the same way on pages, cards and in scripts."""

from dataclasses import dataclass

from approvals.decisions.settle import LEFT_AFTER_ALL, WHICH_IS_NOT_TOLD, is_told_by_hand
from approvals.models import Decision
from mirror.models import Message
from mirror.states import DecisionState, MessageState


@dataclass(frozen=True)
class Status:
    """`word` is a word or two, `tone` one of amber, green, rose, blue, violet, plain; `detail` may be empty."""

    word: str
    tone: str
    detail: str = ""


_STATES: dict[str, Status] = {
    MessageState.HELD: Status("Held", "amber", "Waiting for a decision"),
    MessageState.SCHEDULED: Status("Scheduled", "blue", "Waits for its time"),
    MessageState.RECEIVED: Status("Received", "plain"),
    MessageState.APPROVED: Status("Approved", "green", "On its way to delivery"),
    MessageState.SCHEDULED_APPROVED: Status("Approved", "green", "Sends at its scheduled time"),
    MessageState.RELEASED: Status("Released", "green", "Given to the agent"),
    MessageState.SENT: Status("Sent", "green", "The mail server has taken it"),
    MessageState.DELIVERED: Status(
        "Delivered", "green", "Accepted by the mail server; nobody knows whether it was read"
    ),
    MessageState.BOUNCED: Status("Bounced", "rose", "The recipient's server refused it"),
    MessageState.COMPLAINED: Status("Complained of", "rose", "The recipient marked it as spam"),
    MessageState.REJECTED: Status("Rejected", "rose", "Nothing was sent"),
    MessageState.CANCELLED: Status("Cancelled", "plain", "Withdrawn by the sender; nothing was sent"),
    MessageState.FAILED: Status("Failed", "rose", "It was approved, but could not be sent"),
    MessageState.GONE: Status("Decided elsewhere", "violet", "Not held any more; how it was decided is not known"),
}
_DECISIONS: dict[str, tuple[str, str]] = {
    DecisionState.RECORDED: ("Sending", "blue"),
    DecisionState.CALLING: ("Sending", "blue"),
    DecisionState.UNKNOWN: ("Outcome unknown", "violet"),
    DecisionState.UNATTRIBUTED: ("Outcome unknown", "violet"),
    DecisionState.WITHDRAWN: ("May still leave", "violet"),
}
LEFT = "Left after all, although it was withdrawn"
_TONES = {"approve": "green", "reject": "rose", "send_back": "rose"}
_REJECTING = {"reject": "Rejecting", "send_back": "Requesting changes"}


def status_of(message: Message, decision: Decision | None) -> Status:
    """Return where `message` is, given its newest decision."""
    plain = _STATES[message.state]
    if decision is None:
        return _with_upstream(message, plain)
    who = decision.giver
    if decision.explanation == LEFT_AFTER_ALL:
        return Status(_done(decision) if _is_not_told(message, decision) else plain.word, "rose", LEFT)
    if decision.state in _DECISIONS and message.state in (MessageState.HELD, MessageState.GONE):
        return _under_way(decision, who)
    if message.state == MessageState.GONE and is_told_by_hand(decision):
        if decision.state == DecisionState.APPLIED:
            return Status(_done(decision), _TONES[decision.outcome], decision.explanation)
        return Status("Not carried out", "violet", decision.explanation)
    if message.state == MessageState.HELD:
        if decision.state == DecisionState.REFUSED:
            return Status("Held", "amber", f"Held again: {decision.explanation}")
        if decision.state == DecisionState.APPLIED and _is_not_told(message, decision):
            return Status(_done(decision), _TONES[decision.outcome], f"By {who}")
        if decision.state == DecisionState.APPLIED:
            return Status(plain.word, plain.tone, f"Held again, although it was {decision.word} by {who}")
        return plain
    if decision.state == DecisionState.APPLIED:
        word = "Changes requested" if decision.outcome == "send_back" else plain.word
        if decision.rule == "expiry" and message.state == MessageState.REJECTED:
            word = "Expired"
        unclear = ", the newest of several: which one, MultiMail does not say"
        by = f"{_done(decision)} by {who}{unclear if decision.explanation == WHICH_IS_NOT_TOLD else ''}"
        # A mail server has it: that it was read nobody here knows.
        how = f". {plain.detail}" if message.state == MessageState.DELIVERED and plain.detail else ""
        return Status(word, plain.tone, f"{by}{how}")
    # What a person said counts until MultiMail tells.
    if decision.state == DecisionState.SUPERSEDED and decision.explanation and not is_told_by_hand(decision):
        return Status(plain.word, plain.tone, decision.explanation)
    return _with_upstream(message, plain)


def _is_not_told(message: Message, decision: Decision) -> bool:
    """Whether the mirror does not show yet what became of the message by this decision that took effect."""
    is_behind = message.state == MessageState.HELD and decision.changed_at >= message.changed_at
    return is_behind or message.state == MessageState.GONE


def _done(decision: Decision) -> str:
    return decision.result


def _under_way(decision: Decision, who: str) -> Status:
    word, tone = _DECISIONS[decision.state]
    if word == "Sending":
        word = _REJECTING.get(decision.outcome, word)
    if decision.state == DecisionState.WITHDRAWN and decision.outcome != "approve":
        word = "May still be rejected"
    if decision.state == DecisionState.UNKNOWN and decision.outcome == "approve" and decision.has_been_read_as_held:
        return Status(word, tone, "Seen held twice: it can be sent again")
    return Status(word, tone, decision.explanation or f"{_done(decision)} by {who}")


def _with_upstream(message: Message, plain: Status) -> Status:
    who = message.upstream_decided_by
    decided = message.state in (MessageState.APPROVED, MessageState.REJECTED, MessageState.SENT, MessageState.RELEASED)
    return Status(plain.word, plain.tone, f"Decided outside this desk by {who}") if who and decided else plain
