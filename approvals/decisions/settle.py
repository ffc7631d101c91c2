"""Ends decisions. Every change of a decision's state goes through `advance`, by
compare-and-set.
"""

from datetime import datetime
from typing import Any

from approvals.errors import StaleDecision
from approvals.models import Decision, Verdict
from audit.trail import last_of
from common.actors import Actor
from common.postgres import clock
from common.references import references_in
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import (
    DecisionEvent,
    DecisionState,
    decision_behind,
    next_decision_state,
)
from mirror.terms import UNSETTLED, VOID

# Where the action is not named for the new state.
_ACTIONS: dict[str, str] = {
    DecisionEvent.POSTPONE: "decision.postponed",
    DecisionEvent.SEEN_HELD: "decision.postponed",
    DecisionEvent.CONFIRM: "decision.confirmed",
    DecisionEvent.FOUND: "decision.found_again",
}
# Ended without an effect, as far as the desk knew.
_ENDED = (DecisionState.UNDONE, DecisionState.REFUSED, DecisionState.SUPERSEDED)
LOST_TO_OURS = "Another decision of this desk took effect."
WINNER_UNKNOWN = "MultiMail does not say which of this desk's decisions it carried out: the newest is assumed."
# How the explanation begins where a person settled it, because MultiMail said nothing.
SETTLED_BY_HAND = "MultiMail does not say; "
NOT_NAMED = "MultiMail reports this outcome, but takes no reasons here: whether it was by this decision is not known."
LEFT_AFTER_ALL = (
    "It was sent after all: the approval was already on its way when it was withdrawn."
)


def advance(
    decision: Decision,
    event: str,
    actor: Actor,
    explanation: str = "",
    *,
    status: int | None = None,
    at: datetime | None = None,
    **fields: Any,
) -> Decision:
    """Move a decision by `event`, in the caller's transaction, and record it.

    `at` is the time by the database, where the caller has read it; `fields` are further
    values of its row, among them the lease of a call: without one it has none. The
    write expects the state and the attempt number that the caller saw: a worker that
    wakes up late cannot overwrite a newer attempt. Raises StaleDecision when the row
    has moved on, InvalidTransition for an impossible step.
    """
    before = DecisionState(decision.state)
    state = DecisionState(next_decision_state(before, event))
    action = _ACTIONS.get(event, f"decision.{state}")
    if (
        before == DecisionState.WITHDRAWN
        and decision.is_approval
        and event == DecisionEvent.SUCCEED
    ):
        explanation = LEFT_AFTER_ALL
        action = "decision.left_after_all"
    elif state == DecisionState.SUPERSEDED and explanation.startswith(SETTLED_BY_HAND):
        action = "decision.without_effect"
    seen = Decision.objects.filter(
        pk=decision.pk, state=before, attempt=decision.attempt
    )
    changed = {
        "changed_at": at or clock(),
        "explanation": explanation,
        "lease_until": None,
        **fields,
    }
    if not seen.update(state=state, **changed):
        raise StaleDecision("This decision has moved on in the meantime.")
    decision.state = state
    for name, value in changed.items():
        setattr(decision, name, value)
    decision.attempts.create(
        number=decision.attempt, event=event, status=status, note=explanation
    )
    record_about(
        action,
        decision.message,
        actor=actor,
        fingerprint=decision.revision.fingerprint,
        details={
            "outcome": decision.outcome,
            "reference": decision.reference,
            "attempt": str(decision.attempt),
            "explanation": explanation,
        },
        about=decision,
    )
    if state in VOID:
        Verdict.objects.filter(message=decision.message_id).void()
    return decision


def is_settled_by_hand(decision: Decision) -> bool:
    """Whether a person settled it by hand, because MultiMail reported nothing."""
    return decision.explanation.startswith(SETTLED_BY_HAND)


def report_expected(decision: Decision) -> str:
    """Return what MultiMail will report of the message once this decision has taken
    effect.
    """
    return "approved" if decision.is_approval else "rejected"


def settle_by_report(
    message: Message, *, reported: str, reason: str, decided_by: str, actor: Actor
) -> None:
    """Settle every open decision on a locked message by what MultiMail reports; at most
    one of them took effect.

    `reported` comes from `reported_of`. Besides the live decision there may be
    withdrawn ones whose calls had left.
    """
    every = _decisions_under_lock(message)
    decisions = [one for one in every if one.state in UNSETTLED]
    named = references_in(reason)
    ended = None
    if reported == "approved":
        ended = next(
            (
                one
                for one in every
                if one.state in _ENDED and one.reference in named and one.is_approval
            ),
            None,
        )
    if ended and not last_of(
        message=message.public_id, actions=("decision.left_after_all",)
    ):
        # The end state itself never changes.
        was = DecisionState(ended.state).label.lower()
        record_about(
            "decision.left_after_all",
            message,
            actor=actor,
            fingerprint=ended.revision.fingerprint,
            details={
                "reference": ended.reference,
                "explanation": f"MultiMail names this decision, which had ended here: {was}.",
            },
        )
    if reported == "cancelled":
        lost = "The message was withdrawn by its sender first."
    else:
        who = f" by {decided_by}" if decided_by else ""
        lost = f"The message was {reported}{who} outside this desk first."
    # Our gateway stores a reason unchanged and reports it wherever it reports who
    # decided; each of our calls has one. Hosted MultiMail may drop or shorten it, and
    # some reports name neither.
    takes_reasons = "reason" not in message.connection.refused_fields
    is_named_always = message.connection.is_our_gateway and takes_reasons
    is_nameless = not named and not (is_named_always and reason + decided_by)
    claims = []
    for one in decisions:
        is_named = one.reference in reason
        # Cancelled after it was decided, as scheduled mail can be.
        is_cancelled = is_named and reported == "cancelled"
        may_be_this = is_named or (is_nameless and one.may_have_left)
        if is_cancelled or (may_be_this and reported == report_expected(one)):
            claims.append(one)
    if claims and not named and not takes_reasons:
        # Our reference is part of the reason, so no report can tell whether it was one
        # of these.
        for decision in decisions:
            if decision not in claims:
                advance(decision, DecisionEvent.LOSE, actor, lost)
            elif decision.state == DecisionState.UNKNOWN:
                advance(decision, DecisionEvent.SEEN_ABSENT, actor, NOT_NAMED)
        return
    # Where the report names none, the newest call that may have left is the most
    # likely; only one can have won.
    winner = claims[-1] if claims else None
    if winner:
        advance(
            winner,
            DecisionEvent.SUCCEED,
            actor,
            WINNER_UNKNOWN if len(claims) > 1 else "",
        )
    if winner or ended:
        lost = LOST_TO_OURS
    for decision in decisions:
        if decision != winner:
            advance(
                decision,
                DecisionEvent.LOSE,
                actor,
                WINNER_UNKNOWN if decision in claims else lost,
            )


def is_of_ours(message: Message, *, event: str, reason: str) -> bool:
    """Whether an event about a locked message tells what a decision of ours did, so no
    read has to confirm it.

    MultiMail has answered that it carried the decision out, which alone leads to the
    event, or the event names a call that may have left.
    """
    outcome = decision_behind(event)
    for one in _decisions_under_lock(message):
        agrees = outcome in ("", report_expected(one))
        is_newer = (
            one.state == DecisionState.APPLIED and one.changed_at >= message.changed_at
        )
        is_carried_out = is_newer and outcome != ""
        is_named = (
            one.state in UNSETTLED and one.may_have_left and one.reference in reason
        )
        if agrees and (is_carried_out or is_named):
            return True
    return False


def supersede_others(winner: Decision, message: Message, actor: Actor) -> None:
    """End every other open decision on a locked message, because this one took effect."""
    for decision in decisions_to_settle(message):
        if decision.pk != winner.pk:
            advance(decision, DecisionEvent.LOSE, actor, LOST_TO_OURS)


def decisions_to_settle(message: Message) -> list[Decision]:
    """Return those that a report of MultiMail on a locked message can end, locked, the
    oldest first.
    """
    return [one for one in _decisions_under_lock(message) if one.state in UNSETTLED]


def _decisions_under_lock(message: Message) -> list[Decision]:
    found = Decision.objects.filter(message=message).select_related(
        "revision", "given_by"
    )
    locked = list(found.select_for_update(of=("self",)).order_by("pk"))
    for decision in locked:
        decision.message = message
    return locked
