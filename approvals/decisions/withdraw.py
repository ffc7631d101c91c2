"""Commands that go back on a decision: take an approval back, undo what has not left,
and withdraw, send again or settle by hand what may have.
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
    rulings,
)
from approvals.errors import AlreadyDecided, ContentChanged, VerdictNotAllowed
from approvals.models import Decision, Verdict
from common.actors import Actor
from common.postgres import atomic_with_retry, clock
from mirror.errors import InvalidTransition
from mirror.recording import record_about
from mirror.states import DecisionEvent, DecisionState, Outcome
from mirror.terms import READS_THAT_PROVE


@atomic_with_retry
def take_back_approval(*, message: UUID, actor: Actor) -> Verdict:
    """Take back one's own approval while more are needed, and return it.

    Raises AlreadyDecided where the message is decided, or where the actor has given no
    approval that still stands, and VerdictNotAllowed for people who are no reviewers of
    its mailbox.
    """
    locked = lock_for_reviewer(message, actor, to="take an approval back")
    decision = locked.decisions.live().first()
    if decision is not None:
        raise AlreadyDecided(
            "It is decided by now: undo the decision instead.", decision=decision
        )
    own = locked.verdicts.filter(
        live=True, person=int(actor.id), outcome=Outcome.APPROVE
    )
    verdict = own.select_related("revision").first()
    if verdict is None:
        raise AlreadyDecided("You have no approval here to take back.")
    verdict.live = False
    verdict.awaits_others = False
    verdict.save(update_fields=["live", "awaits_others"])
    verdict.message = locked
    record_about(
        "verdict.taken_back",
        locked,
        actor=actor,
        fingerprint=verdict.revision.fingerprint,
        details={"outcome": verdict.outcome, "verdict": str(verdict.pk)},
    )
    return verdict


@atomic_with_retry
def undo_decision(*, message: UUID, actor: Actor) -> Decision:
    """Undo a decision while nothing has left. Raises AlreadyDecided when it is too
    late.
    """
    decision = lock_to_stop(message, actor)
    if decision is None or decision.may_have_left:
        raise AlreadyDecided(
            "It is too late to undo: the decision has been carried out.",
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
    """Return the decision of a message that the actor may undo or withdraw, under the
    locks of both; None where there is none. Raises VerdictNotAllowed.

    Whoever sees the message can stop what a standing approval decided.
    """
    locked = lock_visible(message, actor)
    decision = locked.decisions.live().under_lock().first()
    if decision is not None and decision.standing_id is not None:
        return decision
    if not is_reviewer(actor, locked):
        raise VerdictNotAllowed("Only a reviewer of this mailbox can undo a decision.")
    if decision is not None and decision.rule:
        raise VerdictNotAllowed("A rule decided this, and would decide the same again.")
    return decision


@atomic_with_retry
def withdraw_decision(*, message: UUID, actor: Actor) -> Decision:
    """Stop a decision whose call may have left. It may still take effect, and is shown
    so until MultiMail reports.

    Where no call has left, it is undone. Raises AlreadyDecided when there is nothing
    left to stop.
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
    """Send an approval of unknown outcome again, once two reads have shown that
    MultiMail still holds the message.
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
    if locked.revision is None or locked.revision_id != decision.revision_id:
        raise ContentChanged(
            "The message changed after it was approved. Withdraw the approval, then read it again.",
            shown=decision.revision.fingerprint,
            current=locked.fingerprint,
        )
    ruling = rulings([locked], actor, is_decided=True)[locked.pk]
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
    """Settle a decision that MultiMail no longer reports on: by a reviewer of the
    mailbox, or an admin.
    """
    locked = lock_visible(message, actor)
    if not may_handle(actor, locked):
        raise VerdictNotAllowed(
            "Only a reviewer or an admin of this mailbox can record what happened to it."
        )
    # Those whose message MultiMail no longer holds without reporting why.
    untold = {DecisionState.UNATTRIBUTED}
    if not locked.is_held:
        untold.add(DecisionState.WITHDRAWN)
    found = [one for one in settle.decisions_to_settle(locked) if one.state in untold]
    if not found:
        raise AlreadyDecided("There is no decision here that a person has to settle.")
    became = "took effect" if took_effect else "did not take effect"
    settled = settle.advance(
        found[-1],
        DecisionEvent.SUCCEED if took_effect else DecisionEvent.LOSE,
        actor,
        f"{settle.SETTLED_BY_HAND}{actor.label} says that it {became}.",
    )
    if took_effect:
        settle.supersede_others(settled, locked, actor)
    # Two reads lacked it and none has closed it yet; a read that lists it again must be
    # able to reopen it.
    mark_gone(locked, actor)
    return settled
