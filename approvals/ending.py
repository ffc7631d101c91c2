"""Ends an attempt to carry a decision out: classifies what came of the call, as design.md section 5 has it."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from approvals import mirror, settle
from approvals.errors import StaleDecision
from approvals.models import Connection, Decision
from approvals.states import DecisionEvent, MessageEvent
from audit.recording import record
from courier.backoff import retry_after_attempt
from people.actors import worker
from upstream import errors

NOT_SENT_BACKOFF = (2, 5, 10, 30, 60, 120, 300)
ACTOR = worker("decisions")


@transaction.atomic
def end_with_success(decision: Decision, answer: dict[str, Any]) -> Decision:
    try:
        return settle.advance(
            decision,
            event=DecisionEvent.SUCCEED,
            actor=ACTOR,
            status=200,
            lease_until=None,
            upstream_answer=_kept(answer),
        )
    except StaleDecision:
        # MultiMail commits before it answers, so its webhook may have settled the decision while the call ran.
        decision.refresh_from_db()
        return decision


@transaction.atomic
def end_with_error(decision: Decision, error: errors.UpstreamError, *, had_left: bool) -> Decision:
    """Classify what went wrong, as the state table of design.md section 5 has it.

    `had_left` says whether an earlier attempt may have left: some answers prove only that this one had no effect.
    """
    try:
        if isinstance(error, errors.Conflict):
            return _meet_conflict(decision, error)
        if isinstance(error, errors.Throttled):
            wait = timedelta(seconds=error.retry_after)
            Connection.objects.filter(pk=decision.message.connection_id).update(wait_until=Now() + wait)
            return _postpone(decision, error, seconds=error.retry_after, had_left=had_left)
        if isinstance(error, errors.KeyRefused):
            _pause(decision.message.connection, error.sentence)
            return _postpone(decision, error, seconds=0, had_left=had_left)
        if isinstance(error, errors.NotSent):
            seconds = retry_after_attempt(decision.attempt, schedule=NOT_SENT_BACKOFF, jitter=0.2) or 300
            return _postpone(decision, error, seconds=seconds, had_left=had_left)
        if isinstance(error, errors.NotFound):
            _mark_gone(decision)
            return _advance(decision, DecisionEvent.REFUSE, error)
        if isinstance(error, errors.Forbidden | errors.Rejected):
            return _advance(decision, DecisionEvent.REFUSE, error)
        return _advance(decision, DecisionEvent.DOUBT, error)
    except StaleDecision:
        # A webhook or a person moved it on while the call ran; that row is the newer truth.
        decision.refresh_from_db()
        return decision


def _meet_conflict(decision: Decision, error: errors.Conflict) -> Decision:
    if reported := settle.reported_of(error.decision, error.message_status):
        return settle.meet_report(
            decision,
            reported=reported,
            reason=error.reason,
            decided_by=error.decided_by,
            actor=ACTOR,
        )
    if error.code == "content_changed" or error.message_status.startswith("pending"):
        return _advance(decision, DecisionEvent.REFUSE, error)
    return _advance(decision, DecisionEvent.DOUBT, error)


def _advance(decision: Decision, event: str, error: errors.UpstreamError) -> Decision:
    return settle.advance(
        decision, event=event, actor=ACTOR, explanation=error.sentence, status=error.status, lease_until=None
    )


def _postpone(decision: Decision, error: errors.UpstreamError, *, seconds: float, had_left: bool) -> Decision:
    return settle.advance(
        decision,
        event=DecisionEvent.POSTPONE,
        actor=ACTOR,
        explanation=error.sentence,
        status=error.status,
        lease_until=None,
        due_at=Now() + timedelta(seconds=seconds),
        may_have_left=had_left,
    )


@transaction.atomic
def refuse(decision: Decision, sentence: str) -> Decision:
    return settle.advance(decision, event=DecisionEvent.REFUSE, actor=ACTOR, explanation=sentence, lease_until=None)


def _pause(connection: Connection, because: str) -> None:
    paused = Connection.objects.filter(pk=connection.pk, paused_at=None)
    if paused.update(paused_at=Now(), paused_because=because):
        record("connection.paused", actor=ACTOR, connection=connection.pk, details={"explanation": because})


def _mark_gone(decision: Decision) -> None:
    """Close the message of a decision that MultiMail does not know any more; a read that lists it opens it again."""
    message = mirror.lock_message(decision.message.connection, upstream_id=decision.message.upstream_id)
    if message and mirror.move(message, event=MessageEvent.GONE, now=decision.changed_at):
        record("message.gone", actor=ACTOR, connection=message.connection_id, message=message.public_id)


def _kept(answer: dict[str, Any]) -> dict[str, Any]:
    """The few fields of MultiMail's answer that history needs."""
    return {name: answer[name] for name in ("status", "decision", "decided_at", "decided_by") if name in answer}
