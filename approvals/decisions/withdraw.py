"""Commands of people about a verdict or decision that was given already: take back an
approval, undo a decision before its call, withdraw one whose call may have left, send
an approval again, or record by hand what became of a decision.
"""

from uuid import UUID

from approvals import tasks
from approvals.decisions import settle
from approvals.decisions.outcomes import mark_gone
from approvals.decisions.ruling import (
    is_reviewer,
    lock_for_reviewer,
    lock_visible,
    may_handle,
    ruling_of,
)
from approvals.errors import AlreadyDecided, ContentChanged, VerdictNotAllowed
from approvals.models import Decision
from common.actors import Actor
from common.postgres import atomic_with_retry, clock
from mirror.errors import InvalidTransition
from mirror.recording import record_about
from mirror.states import (
    READS_THAT_PROVE,
    DecisionEvent,
    DecisionState,
    Ending,
    Outcome,
)


@atomic_with_retry
def take_back_approval(*, message: UUID, actor: Actor) -> None:
    """Take back the actor's own approval while the message is undecided.

    Raises AlreadyDecided if the message is decided or the actor has no approval that
    counts, and VerdictNotAllowed if they are no reviewer of its mailbox.
    """
    locked = lock_for_reviewer(message, actor, to="take an approval back")
    decision = locked.decisions.live().first()
    if decision is not None:
        raise AlreadyDecided(
            "It is decided by now: undo the decision instead.", decision=decision
        )
    if not locked.is_held:
        raise AlreadyDecided("It is too late: the message is no longer held.")
    approvals = locked.verdicts.filter(
        live=True,
        awaits_others=True,
        person=actor.person_id,
        outcome=Outcome.APPROVE,
    )
    verdict = approvals.select_related("revision").first()
    if verdict is None:
        raise AlreadyDecided("You have no approval here to take back.")
    verdict.live = False
    verdict.awaits_others = False
    verdict.save(update_fields=["live", "awaits_others"])
    verdict.message = locked
    record_about(
        "verdict.taken_back",
        locked,
        actor,
        fingerprint=verdict.revision.fingerprint,
        details={"outcome": verdict.outcome, "verdict": str(verdict.pk)},
    )


@atomic_with_retry
def undo_decision(*, message: UUID, actor: Actor) -> Decision:
    """Undo a decision before its call may have left. Raises AlreadyDecided if it is too
    late, VerdictNotAllowed if the actor may not.
    """
    decision = lock_to_stop(message, actor)
    if decision is None or decision.may_have_left:
        raise AlreadyDecided(
            "It is too late to undo: the decision has ended, or MultiMail may have received it.",
            decision=decision,
        )
    try:
        return settle.advance(
            decision, DecisionEvent.UNDO, actor, f"Undone by {actor.label}."
        )
    except InvalidTransition:
        raise AlreadyDecided(
            "It is too late to undo: the decision is being carried out.",
            decision=decision,
        ) from None


def lock_to_stop(message: UUID, actor: Actor) -> Decision | None:
    """Lock a message and its decision, and return the decision, which the actor may
    undo or withdraw; None if there is none.

    Raises VerdictNotAllowed if the actor is no reviewer of the mailbox, or a rule
    decided. But what a pass decided can be stopped by everybody who may see the
    message.
    """
    locked = lock_visible(message, actor)
    decision = locked.decisions.live().under_lock().first()
    if decision is not None and decision.pass_id:
        return decision
    if not is_reviewer(actor, locked):
        raise VerdictNotAllowed("Only a reviewer of this mailbox can undo a decision.")
    if decision is not None and decision.rule:
        raise VerdictNotAllowed("A rule decided this, and would decide the same again.")
    return decision


@atomic_with_retry
def withdraw_decision(*, message: UUID, actor: Actor) -> Decision:
    """Stop a decision. If its call may have left, it is withdrawn: it may still take
    effect, and is shown so until MultiMail reports. Otherwise it is undone.

    Raises AlreadyDecided if there is nothing left to stop, VerdictNotAllowed if the
    actor may not.
    """
    decision = lock_to_stop(message, actor)
    if decision is None:
        raise AlreadyDecided("There is no decision to withdraw.")
    event = DecisionEvent.UNDO
    explanation = f"Undone by {actor.label}."
    if decision.may_have_left:
        event = DecisionEvent.WITHDRAW
        explanation = f"Withdrawn by {actor.label}, on its way to MultiMail."
    try:
        stopped = settle.advance(
            decision, event, actor, explanation, seen_held=0, seen_absent=0
        )
    except InvalidTransition:
        raise AlreadyDecided(
            "MultiMail no longer holds the message: record what happened to it."
        ) from None
    tasks.resolve_decision.delay_on_commit(stopped.pk)
    return stopped


@atomic_with_retry
def confirm_approval(*, message: UUID, actor: Actor) -> Decision:
    """Send an approval again whose outcome is unknown. This needs two reads that showed
    that MultiMail still holds the message.

    Raises AlreadyDecided, VerdictNotAllowed or ContentChanged if it cannot be sent
    again.
    """
    locked = lock_for_reviewer(message, actor, to="do this")
    decision = locked.decisions.live().under_lock().first()
    if (
        decision is None
        or decision.state != DecisionState.UNKNOWN
        or not decision.is_approval
    ):
        raise AlreadyDecided(
            "There is no unconfirmed approval to send again.", decision=decision
        )
    if decision.seen_held < READS_THAT_PROVE:
        raise VerdictNotAllowed(
            "MultiMail has not been read often enough to know that the first call had no effect."
        )
    if locked.revision_id != decision.revision_id:
        raise ContentChanged(
            "The message changed after it was approved. Withdraw the approval, then read it again."
        )
    # What a pass decided has no verdicts.
    ruling = ruling_of(locked, actor, is_decided=not decision.pass_id)
    if not ruling.may_approve:
        raise VerdictNotAllowed(ruling.reasons[0])
    tasks.execute_decision.delay_on_commit(decision.pk)
    return settle.advance(
        decision,
        DecisionEvent.CONFIRM,
        actor,
        f"{actor.label} confirmed sending it again: MultiMail still holds it.",
        due_at=clock(),
    )


@atomic_with_retry
def settle_by_hand(*, message: UUID, actor: Actor, took_effect: bool) -> Decision:
    """Record what became of a decision about which MultiMail does not report, by the
    word of a reviewer or admin of the mailbox.

    Raises VerdictNotAllowed for other people, AlreadyDecided if there is no such
    decision.
    """
    locked = lock_visible(message, actor)
    if not may_handle(actor, locked):
        raise VerdictNotAllowed(
            "Only a reviewer or an admin of this mailbox can record what happened to it."
        )
    # The states of decisions on a message that MultiMail no longer holds, without
    # having reported why.
    unreported = {DecisionState.UNATTRIBUTED}
    if not locked.is_held:
        unreported.add(DecisionState.WITHDRAWN)
    decisions = [
        one for one in settle.decisions_to_settle(locked) if one.state in unreported
    ]
    if not decisions:
        raise AlreadyDecided("There is no decision here that a person has to settle.")
    became = "took effect" if took_effect else "did not take effect"
    settled = settle.advance(
        decisions[-1],
        DecisionEvent.SUCCEED if took_effect else DecisionEvent.LOSE,
        actor,
        f"MultiMail does not say; {actor.label} says that it {became}.",
        ending=Ending.BY_HAND,
    )
    if took_effect:
        settle.supersede_others(settled, locked, actor)
    # Close the message now if no read has done so yet. It is marked as gone, so that a
    # read that lists it can reopen it.
    mark_gone(locked, actor)
    return settled
