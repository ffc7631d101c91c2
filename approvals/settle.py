"""Ends decisions. Every change of a decision's state goes through `advance`, by compare-and-set."""

from typing import Any

from django.db.models.functions import Now

from approvals.errors import StaleDecision
from approvals.models import Decision, DecisionAttempt, Verdict
from approvals.states import DecisionEvent, DecisionState, next_decision_state
from audit.recording import record
from people.actors import Actor

_ACTIONS = {
    DecisionState.UNDONE: "decision.undone",
    DecisionState.CALLING: "decision.calling",
    DecisionState.APPLIED: "decision.applied",
    DecisionState.REFUSED: "decision.refused",
    DecisionState.SUPERSEDED: "decision.superseded",
    DecisionState.UNKNOWN: "decision.unknown",
    DecisionState.UNATTRIBUTED: "decision.unattributed",
    DecisionState.RECORDED: "decision.postponed",
}
_WORDS = {
    "approve": "approved",
    "approved": "approved",
    "reject": "rejected",
    "rejected": "rejected",
    "cancelled": "cancelled",
}
_VOID = (DecisionState.UNDONE, DecisionState.REFUSED, DecisionState.SUPERSEDED)


def advance(
    decision: Decision, *, event: str, actor: Actor, explanation: str = "", status: int | None = None, **fields: Any
) -> Decision:
    """Move a decision by `event`, in the caller's transaction, and record it.

    The write expects the state and the attempt number that the caller saw: a worker that wakes up late cannot
    overwrite a newer attempt. Raises StaleDecision when the row has moved on, InvalidTransition for an impossible step.
    """
    state = next_decision_state(decision.state, event)
    seen = Decision.objects.filter(pk=decision.pk, state=decision.state, attempt=decision.attempt)
    if not seen.update(state=state, changed_at=Now(), explanation=explanation, **fields):
        raise StaleDecision("This decision has moved on in the meantime.")
    decision.refresh_from_db()
    DecisionAttempt.objects.create(
        decision=decision, number=decision.attempt, event=event, status=status, note=explanation
    )
    if state in _VOID:
        Verdict.objects.filter(message=decision.message_id, live=True).update(live=False)
    message = decision.message
    record(
        _ACTIONS[DecisionState(state)],
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        fingerprint=decision.revision.fingerprint,
        details={
            "outcome": decision.outcome,
            "reference": decision.reference,
            "attempt": str(decision.attempt),
            "explanation": explanation,
        },
    )
    return decision


def reported_of(decision: str, status: str = "") -> str:
    """Return what MultiMail says became of a message: approved, rejected, cancelled; empty for words not known."""
    return next((_WORDS[word] for word in (decision.lower(), status.lower()) if word in _WORDS), "")


def report_expected(decision: Decision) -> str:
    """Return what MultiMail will report of the message once this decision has taken effect."""
    return "approved" if decision.outcome == "approve" else "rejected"


def meet_report(decision: Decision, *, reported: str, reason: str, decided_by: str, actor: Actor) -> Decision:
    """Settle a live decision by what MultiMail reports of the message: `reported` as reported_of gives it.

    A report of our outcome is ours when it carries our reference, or meets a call of ours that may have arrived and
    names no other decision; everything else was somebody else.
    """
    ours = report_expected(decision)
    carries_reference = decision.reference in reason
    names_another = "countersign:" in reason and not carries_reference
    is_ours = reported == ours and (carries_reference or (decision.may_have_left and not names_another))
    # Taken back after it was decided: scheduled mail can be.
    is_ours = is_ours or (reported == "cancelled" and carries_reference)
    if is_ours:
        return advance(decision, event=DecisionEvent.SUCCEED, actor=actor, lease_until=None)
    who = f" by {decided_by}" if decided_by else ""
    return advance(
        decision,
        event=DecisionEvent.LOSE,
        actor=actor,
        lease_until=None,
        explanation=f"The message was {reported}{who} outside this desk first."
        if reported != "cancelled"
        else "The message was taken back by its sender first.",
    )
