"""Where a message stands for the person who looks at it: what is true, and which acts are on offer.

The commands check everything again; what is offered here only spares people a refusal.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from approvals.decisions.settle import ANOTHER_OF_OURS, LEFT_AFTER_ALL, WHICH_IS_NOT_TOLD, is_told_by_hand
from approvals.decisions.status import LEFT, Status, status_of
from approvals.models import Decision
from mirror.models import Message
from mirror.states import DecisionState, MessageState, Outcome

_OPEN = (DecisionState.UNDONE, DecisionState.REFUSED)


@dataclass(frozen=True)
class Standing:
    """`kind` is open, leaving, calling, again, unknown, confirm, unattributed, withdrawn or ended."""

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
        """Whether something happens by itself soon, so that an open page should look again."""
        return self.kind in ("leaving", "calling", "again", "unknown", "confirm")


def standing_of(
    message: Message, decision: Decision | None, *, is_reviewer: bool, may_look: bool, came_back: bool = False
) -> Standing:
    """Return where the message stands, given its newest decision.

    `came_back`: it was decided and taken for gone, and a read lists it as held again.
    """
    is_held = message.state == MessageState.HELD
    if decision is None or decision.state in _OPEN or came_back:
        if not is_held:
            return Standing("ended", can_look=may_look and message.state == MessageState.GONE)
        repeats = came_back and decision is not None and decision.outcome == Outcome.APPROVE
        return Standing(
            "open", takes_verdict=True, can_approve=not repeats, can_look=may_look and message.hydrated_at is None
        )
    if decision.state in (DecisionState.RECORDED, DecisionState.CALLING):
        return _under_way(decision, is_reviewer=is_reviewer)
    if decision.state == DecisionState.UNKNOWN:
        is_proved = decision.outcome == Outcome.APPROVE and decision.has_been_read_as_held
        can_stop = is_reviewer and not decision.rule
        return Standing(
            "confirm" if is_proved else "unknown",
            can_withdraw=can_stop,
            can_confirm=is_proved and is_reviewer,
            can_look=may_look,
        )
    if decision.state == DecisionState.UNATTRIBUTED:
        return Standing("unattributed", can_settle=may_look, can_look=may_look)
    if decision.state == DecisionState.WITHDRAWN:
        is_still_held = is_held and decision.has_been_read_as_held
        return Standing(
            "withdrawn",
            takes_verdict=is_held,
            can_approve=is_still_held,
            can_settle=may_look and not is_held,
            can_look=may_look,
        )
    return Standing("ended")


def _under_way(decision: Decision, *, is_reviewer: bool) -> Standing:
    """Before a call may have left it can be undone, afterwards only be withdrawn."""
    can_stop = is_reviewer and not decision.rule
    kind = "calling" if decision.state == DecisionState.CALLING else "again" if decision.may_have_left else "leaving"
    return Standing(
        kind,
        can_undo=can_stop and not decision.may_have_left,
        can_withdraw=can_stop and decision.may_have_left,
    )


def left_after_all(decisions: Iterable[Decision]) -> Decision | None:
    """Return the approval that was withdrawn and took effect all the same, if there is one."""
    return next((one for one in decisions if one.explanation == LEFT_AFTER_ALL), None)


def shown_status(message: Message) -> Status:
    """Return where the message is; that it left although it was withdrawn counts for more than what came after."""
    newest, left = message.latest_decision, left_after_all(message.decisions.all())
    if left is None:
        return status_of(message, newest)
    lost = newest is not None and newest.state == DecisionState.SUPERSEDED
    return replace(status_of(message, left if lost else newest), tone="rose", detail=LEFT)


def still_withdrawn(decisions: Iterable[Decision], newest: Decision | None) -> Decision | None:
    """Return an older decision that was withdrawn and may still take effect, beside the newest one."""
    return next((one for one in decisions if one.state == DecisionState.WITHDRAWN and one != newest), None)


def how_lost(decision: Decision | None) -> str:
    """Return, for the middle of a sentence, why a decision came to nothing that was not refused."""
    if decision is None or decision.state != DecisionState.SUPERSEDED:
        return ""
    if is_told_by_hand(decision):
        return "it was not carried out"
    if decision.explanation in (ANOTHER_OF_OURS, WHICH_IS_NOT_TOLD):
        return "another decision of this desk was first"
    return "somebody else was first"
