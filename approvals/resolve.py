"""Finds out by reading what became of a decision in doubt. It never calls decide_email."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from approvals import asking, settle
from approvals.asking import ACTOR
from approvals.errors import StaleDecision
from approvals.models import Decision
from approvals.states import DecisionEvent

# Longer than MultiMail may take to finish a call that timed out here: only then does "still held" prove anything.
SETTLE_TIME = timedelta(seconds=30)


def resolve(*, decision_id: int) -> str:
    """Find out by reading what became of a decision in doubt; it never calls decide_email."""
    decision = Decision.objects.to_resolve().select_related("message__connection").filter(pk=decision_id).first()
    if decision is None:
        return "nothing to resolve"
    message = decision.message
    pending = asking.ask(message.connection, email_id=message.upstream_id if message.connection.is_our_gateway else "")
    if pending is None:
        return "unreachable"
    held = any(str(row["id"]) == message.upstream_id for row in pending.rows)
    if pending.unreadable and not held:
        return "not everything could be read"
    try:
        return _weigh(decision.pk, held=held, closed=pending.closed or {})
    except StaleDecision:
        return "settled meanwhile"


@transaction.atomic
def _weigh(decision_id: int, *, held: bool, closed: dict[str, Any]) -> str:
    """Draw the conclusion that one read allows for a decision in doubt."""
    decision = (
        Decision.objects.to_resolve()
        .select_for_update(of=("self",))
        .select_related("message__connection", "revision")
        .filter(pk=decision_id)
        .first()
    )
    if decision is None:
        return "settled meanwhile"
    if reported := settle.reported_of(str(closed.get("decision") or ""), str(closed.get("status") or "")):
        return settle.meet_report(
            decision,
            reported=reported,
            reason=str(closed.get("reason") or ""),
            decided_by=str(closed.get("decided_by") or ""),
            actor=ACTOR,
        ).state
    counter = "seen_held" if held else "seen_absent"
    # Both times by the database's clock: this host's may be off.
    is_settled = Decision.objects.filter(pk=decision.pk, changed_at__lte=Now() - SETTLE_TIME).exists()
    if getattr(decision, counter) == 0 or not is_settled:
        Decision.objects.filter(pk=decision.pk).update(**{counter: 1})
        return "read once"
    if not held:
        return settle.advance(decision, event=DecisionEvent.SEEN_ABSENT, actor=ACTOR).state
    if decision.outcome == "approve":
        # Sending again is a person's choice: the first call might still be under way.
        return "still held, a person must confirm"
    return settle.advance(decision, event=DecisionEvent.SEEN_HELD, actor=ACTOR, due_at=Now()).state
