"""Ends decisions. Every change of a decision's state goes through `advance`, by compare-and-set."""

from typing import Any

from django.db.models.functions import Now

from approvals.errors import StaleDecision
from approvals.models import Decision, DecisionAttempt, Verdict
from audit.trail import last_of
from common.references import references_in
from mirror.models import Connection, Message
from mirror.querysets import VOID
from mirror.recording import record_about
from mirror.states import DecisionEvent, DecisionState, Outcome, next_decision_state
from people.actors import Actor

_ACTIONS = {
    DecisionState.UNDONE: "decision.undone",
    DecisionState.CALLING: "decision.calling",
    DecisionState.APPLIED: "decision.applied",
    DecisionState.REFUSED: "decision.refused",
    DecisionState.SUPERSEDED: "decision.superseded",
    DecisionState.UNKNOWN: "decision.unknown",
    DecisionState.UNATTRIBUTED: "decision.unattributed",
    DecisionState.WITHDRAWN: "decision.withdrawn",
    DecisionState.RECORDED: "decision.postponed",
}
LOST_TO_OURS = "Another decision of this desk took effect."
WINNER_UNKNOWN = "MultiMail does not say which of this desk's decisions it carried out: the newest one is taken for it."
# How the explanation begins where a person settled it, because MultiMail said nothing.
SETTLED_BY_HAND = "MultiMail does not tell; "
LEFT_AFTER_ALL = "It left after all: the approval was already on its way when it was withdrawn."


def advance(
    decision: Decision, *, event: str, actor: Actor, explanation: str = "", status: int | None = None, **fields: Any
) -> Decision:
    """Move a decision by `event`, in the caller's transaction, and record it.

    The write expects the state and the attempt number that the caller saw: a worker that wakes up late cannot
    overwrite a newer attempt. Raises StaleDecision when the row has moved on, InvalidTransition for an impossible step.
    """
    before = DecisionState(decision.state)
    state = DecisionState(next_decision_state(before, event))
    left_after_all = _left_after_all(decision, event)
    explanation = LEFT_AFTER_ALL if left_after_all else explanation
    seen = Decision.objects.filter(pk=decision.pk, state=before, attempt=decision.attempt)
    if not seen.update(state=state, changed_at=Now(), explanation=explanation, **fields):
        raise StaleDecision("This decision has moved on in the meantime.")
    message, revision = decision.message, decision.revision
    # Without the keys of other rows: those never change, and what was read with them stays.
    decision.refresh_from_db(fields=[one.name for one in Decision._meta.concrete_fields if not one.is_relation])
    DecisionAttempt.objects.create(
        decision=decision, number=decision.attempt, event=event, status=status, note=explanation
    )
    if state in VOID:
        Verdict.objects.filter(message=decision.message_id, live=True).update(live=False)
    record_about(
        "decision.left_after_all" if left_after_all else _action(event, decision),
        message,
        actor=actor,
        fingerprint=revision.fingerprint,
        details={
            "outcome": decision.outcome,
            "reference": decision.reference,
            "attempt": str(decision.attempt),
            "explanation": explanation,
        },
    )
    return decision


def _left_after_all(decision: Decision, event: str) -> bool:
    withdrawn_approve = decision.state == DecisionState.WITHDRAWN and decision.outcome == Outcome.APPROVE
    return withdrawn_approve and event == DecisionEvent.SUCCEED


def _action(event: str, decision: Decision) -> str:
    if decision.state == DecisionState.SUPERSEDED and is_settled_by_hand(decision):
        return "decision.without_effect"
    by_event = {DecisionEvent.CONFIRM: "decision.confirmed", DecisionEvent.FOUND: "decision.found_again"}
    return by_event.get(DecisionEvent(event)) or _ACTIONS[DecisionState(decision.state)]


def is_settled_by_hand(decision: Decision) -> bool:
    """Whether a person settled it by hand, because MultiMail reported nothing."""
    return decision.explanation.startswith(SETTLED_BY_HAND)


def report_expected(decision: Decision) -> str:
    """Return what MultiMail will report of the message once this decision has taken effect."""
    return "approved" if decision.outcome == Outcome.APPROVE else "rejected"


def settle_by_report(message: Message, *, reported: str, reason: str, decided_by: str, actor: Actor) -> None:
    """Settle every open decision on a locked message by what MultiMail reports; at most one of them took effect.

    `reported` comes from `reported_of`. Besides the live decision there may be withdrawn ones whose calls had left.
    """
    decisions = list(message.decisions.to_settle())
    ended = message.decisions.ended_without_effect().named_in(reason).first() if reported == "approved" else None
    if ended:
        _record_left_after_all(ended, actor)
    claims = [one for one in decisions if _may_be_ours(one, reported, reason, decided_by)]
    # Where the report names none, the newest call that may have left is the most likely; only one can have won.
    winner = max(claims, key=lambda one: one.pk, default=None)
    if winner:
        explanation = WINNER_UNKNOWN if len(claims) > 1 else ""
        advance(winner, event=DecisionEvent.SUCCEED, actor=actor, lease_until=None, explanation=explanation)
    others = LOST_TO_OURS if winner or ended else _why_lost(reported, decided_by)
    for decision in decisions:
        if decision != winner:
            _supersede(decision, WINNER_UNKNOWN if decision in claims else others, actor)


def supersede_others(winner: Decision, message: Message, *, actor: Actor) -> None:
    """End every other open decision on a locked message, because this one took effect."""
    for decision in message.decisions.to_settle():
        if decision.pk != winner.pk:
            _supersede(decision, LOST_TO_OURS, actor)


def _supersede(decision: Decision, explanation: str, actor: Actor) -> None:
    advance(decision, event=DecisionEvent.LOSE, actor=actor, lease_until=None, explanation=explanation)


def _record_left_after_all(decision: Decision, actor: Actor) -> None:
    """Record that MultiMail carried out a decision that had ended here; the end state itself never changes."""
    if last_of(message=decision.message.public_id, actions=("decision.left_after_all",)):
        return
    was = DecisionState(decision.state).label.lower()
    record_about(
        "decision.left_after_all",
        decision.message,
        actor=actor,
        fingerprint=decision.revision.fingerprint,
        details={
            "reference": decision.reference,
            "explanation": f"MultiMail names this decision, which had ended here: {was}.",
        },
    )


def _may_be_ours(decision: Decision, reported: str, reason: str, decided_by: str) -> bool:
    """Whether a report may be of this decision: it names it, or names none and a call of this one may have arrived."""
    carries_reference = decision.reference in reason
    if reported == "cancelled":
        # Cancelled after it was decided, as scheduled mail can be.
        return carries_reference
    may_have_arrived = decision.may_have_left and not _names_another(decision, reason, decided_by)
    return reported == report_expected(decision) and (carries_reference or may_have_arrived)


def _why_lost(reported: str, decided_by: str) -> str:
    if reported == "cancelled":
        return "The message was taken back by its sender first."
    who = f" by {decided_by}" if decided_by else ""
    return f"The message was {reported}{who} outside this desk first."


def _names_another(decision: Decision, reason: str, decided_by: str) -> bool:
    """Whether a report whose reason lacks this decision's reference is about another decision."""
    if references_in(reason):
        return True
    # Our gateway stores a reason unchanged and reports it wherever it reports who decided; each of our calls has one.
    # Hosted MultiMail may drop or shorten it, and some reports name neither.
    return bool(reason + decided_by) and decision.message.connection.is_our_gateway


def reopen_listed(connection: Connection, *, upstream_ids: list[str], actor: Actor) -> None:
    """Reopen decisions that only absence had settled, because the message is listed again."""
    found = Decision.objects.unattributed_among(connection, upstream_ids).under_lock()
    for decision in found:
        advance(decision, event=DecisionEvent.FOUND, actor=actor, seen_held=0, seen_absent=0)
