"""Changes the state of decisions, and ends them by what MultiMail reports about their
messages. Every change of state is made by `advance`, as a compare-and-set.
"""

from datetime import datetime
from typing import Any

from django.db.models import Q

from approvals.errors import StaleDecision
from approvals.models import Decision, Verdict
from audit.trail import last_of
from common.actors import Actor
from common.endings import EndedBy
from common.postgres import clock
from common.references import references_in
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import (
    UNSETTLED,
    VOID,
    WITHOUT_EFFECT,
    DecisionEvent,
    DecisionState,
    Ending,
    MessageEvent,
    Outcome,
    decision_behind,
    next_decision_state,
)
from mirror.store import add_aliases

# The ledger actions of events; those of other events are named for the new state.
_ACTIONS: dict[str, str] = {
    DecisionEvent.POSTPONE: "decision.postponed",
    DecisionEvent.SEEN_HELD: "decision.postponed",
    DecisionEvent.CONFIRM: "decision.confirmed",
    DecisionEvent.FOUND: "decision.found_again",
}
# What an event says of how a message was decided.
_DECIDED: dict[str, str] = {
    MessageEvent.APPROVED: Outcome.APPROVE,
    MessageEvent.RELEASED: Outcome.APPROVE,
    MessageEvent.REJECTED: Outcome.REJECT,
    MessageEvent.GONE: "",
}
# The events of which MultiMail gives the reason.
WITH_REASON = (*_DECIDED, MessageEvent.CANCELLED)


def advance(
    decision: Decision,
    event: str,
    actor: Actor,
    explanation: str = "",
    *,
    ending: str = "",
    at: datetime | None = None,
    **fields: Any,
) -> Decision:
    """Move a decision to the state that follows from `event`, and record that in the
    ledger, in the caller's transaction. Return the decision.

    `at` is the database's time if the caller has read it. An `ending` explains itself
    where there is no explanation. `fields` are further values of the row; the lease
    ends unless they contain one.

    Raises InvalidTransition if the event is not possible in this state. Raises
    StaleDecision if the row has another state or attempt number than the caller saw: so
    a worker that was too slow cannot overwrite a newer attempt.
    """
    before = DecisionState(decision.state)
    state = DecisionState(next_decision_state(before, event))
    action = _ACTIONS.get(event, f"decision.{state}")
    if (
        before == DecisionState.WITHDRAWN
        and decision.is_approval
        and event == DecisionEvent.SUCCEED
        and ending != Ending.BY_HAND
    ):
        ending = Ending.LEFT_AFTER_ALL
        explanation = ""
        action = "decision.left_after_all"
    elif state == DecisionState.SUPERSEDED and ending == Ending.BY_HAND:
        action = "decision.without_effect"
    if ending and not explanation:
        explanation = Ending(ending).label
    unchanged = Decision.objects.filter(
        pk=decision.pk, state=before, attempt=decision.attempt
    )
    changed = {
        "changed_at": at or clock(),
        "ending": ending,
        "explanation": explanation,
        "lease_until": None,
        **fields,
    }
    if not unchanged.update(state=state, **changed):
        raise StaleDecision("This decision has moved on in the meantime.")
    decision.state = state
    for name, value in changed.items():
        setattr(decision, name, value)
    record_about(
        action,
        decision.message,
        actor,
        fingerprint=decision.revision.fingerprint,
        details={
            "outcome": decision.outcome,
            "reference": decision.reference,
            "attempt": str(decision.attempt),
            "explanation": explanation,
        },
        about=decision,
    )
    # The verdicts of a withdrawn decision are void already: live ones are newer.
    if state in VOID and before not in VOID:
        Verdict.objects.filter(message=decision.message_id).void()
    return decision


def report_expected(decision: Decision) -> str:
    """Return what MultiMail reports of the message if this decision has taken effect:
    "approved" or "rejected".
    """
    return "approved" if decision.is_approval else "rejected"


def settle_by_report(
    message: Message,
    *,
    reported: str,
    reason: str,
    decided_by: str,
    ended_by: str,
    actor: Actor,
) -> None:
    """End the open decisions on a locked message by what MultiMail reports about it: at
    most one of them took effect, the others are superseded.

    `reported` is "approved", "rejected" or "cancelled", as from `reported_of`; `reason`,
    `decided_by` and `ended_by` are what MultiMail gives with it. Besides the live decision there
    may be withdrawn ones whose calls may have left.
    """
    all_decisions = _decisions_under_lock(message)
    open_decisions = [one for one in all_decisions if one.state in UNSETTLED]
    references = references_in(reason)
    # An approval that had ended here without an effect, but that MultiMail names: it
    # was sent after all.
    ended_approval = next(
        (
            one
            for one in all_decisions
            if reported == "approved"
            and one.state in WITHOUT_EFFECT
            and one.reference in references
            and one.is_approval
        ),
        None,
    )
    if ended_approval and not last_of(
        message=message.public_id, actions=("decision.left_after_all",)
    ):
        # Only recorded: a decision that has ended keeps its state.
        ended_state = DecisionState(ended_approval.state).label.lower()
        record_about(
            "decision.left_after_all",
            message,
            actor,
            fingerprint=ended_approval.revision.fingerprint,
            details={
                "reference": ended_approval.reference,
                "explanation": f"MultiMail names this decision, which had ended here: {ended_state}.",
            },
        )
    if reported == "cancelled":
        why_lost = "The message was withdrawn by its sender first."
    elif ended_by == EndedBy.EXPIRY:
        why_lost = "The message expired outside this desk first."
    else:
        who = f" by {decided_by}" if decided_by else ""
        why_lost = f"The message was {reported}{who} outside this desk first."
    # Find the decisions that may have had this outcome. Each of our calls has a reason
    # that contains the decision's reference. Our gateway stores the reason unchanged,
    # and reports it whenever it reports who decided. Hosted MultiMail may drop or
    # shorten it, and some reports have neither.
    takes_reasons = "reason" not in message.connection.refused_fields
    is_named_always = message.connection.is_our_gateway and takes_reasons
    names_nobody = not references and not (is_named_always and reason + decided_by)
    candidates = []
    for one in open_decisions:
        is_named = one.reference in reason
        # Decided by this decision, and cancelled later, as scheduled mail can be.
        is_cancelled = is_named and reported == "cancelled"
        may_be_this = is_named or (names_nobody and one.may_have_left)
        if is_cancelled or (may_be_this and reported == report_expected(one)):
            candidates.append(one)
    if candidates and not references and not takes_reasons:
        # MultiMail takes no reasons here, and the reference is part of the reason. So
        # no report can tell whether one of these decisions took effect.
        for decision in open_decisions:
            if decision not in candidates:
                advance(decision, DecisionEvent.LOSE, actor, why_lost)
            elif decision.state == DecisionState.UNKNOWN:
                advance(
                    decision,
                    DecisionEvent.SEEN_ABSENT,
                    actor,
                    "MultiMail reports this outcome, but takes no reasons here: whether it was by this decision is "
                    "not known.",
                )
        return
    # Only one decision can have taken effect. If the report names none, it is most
    # likely the newest whose call may have left.
    winner = candidates[-1] if candidates else None
    if winner:
        ending = Ending.NEWEST_ASSUMED if len(candidates) > 1 else ""
        advance(winner, DecisionEvent.SUCCEED, actor, ending=ending)
    for decision in open_decisions:
        if decision == winner:
            continue
        if decision in candidates:
            ending = Ending.NEWEST_ASSUMED
        else:
            ending = Ending.LOST_TO_OURS if winner or ended_approval else ""
        lost = "" if ending else why_lost
        advance(decision, DecisionEvent.LOSE, actor, lost, ending=ending)


def note_elsewhere(message: Message, event: str, actor: Actor) -> None:
    """Record that a locked message was decided outside this desk, with the name that
    MultiMail gives, if an event says that it was decided and no decision of this desk
    did that. How a message was decided that is gone is not known: it is only counted.
    """
    if event not in _DECIDED:
        return
    is_named = Q(reference__in=references_in(message.upstream_reason))
    ours = Q(state__in=(*UNSETTLED, DecisionState.APPLIED)) | is_named
    if message.decisions.filter(ours).exists():
        return
    if message.decided_elsewhere_at is None:
        message.decided_elsewhere_at = message.changed_at
        message.save(update_fields=["decided_elsewhere_at"])
    if outcome := _DECIDED[event]:
        add_aliases(message, message.upstream_decided_by)
        record_about(
            "decision.elsewhere",
            message,
            actor,
            fingerprint=message.fingerprint,
            details={
                "decided_by": message.upstream_decided_by,
                "ended_by": message.upstream_ended_by,
                "reason": message.upstream_reason,
            },
            outcome=outcome,
        )


def is_of_ours(message: Message, *, event: str, reason: str) -> bool:
    """Whether an event about a locked message follows from a decision of this desk, so
    that no read has to confirm it.

    Either MultiMail has answered that it carried out a decision that leads to this
    event, or the event's reason names a decision whose call may have left.
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
    """End the other open decisions on a locked message, since `winner` took effect."""
    for decision in decisions_to_settle(message):
        if decision.pk != winner.pk:
            advance(decision, DecisionEvent.LOSE, actor, ending=Ending.LOST_TO_OURS)


def decisions_to_settle(message: Message) -> list[Decision]:
    """Return the open decisions on a locked message, which a report of MultiMail can
    end; locked, the oldest first.
    """
    return [one for one in _decisions_under_lock(message) if one.state in UNSETTLED]


def _decisions_under_lock(message: Message) -> list[Decision]:
    decisions = message.decisions.select_related("revision", "given_by")
    return list(decisions.select_for_update(of=("self",)).order_by("pk"))
