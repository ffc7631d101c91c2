"""The one way to decide, whatever the surface: a verdict on what was shown, and the decision that follows from it."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from approvals.errors import AlreadyDecided, ContentChanged, InvalidTransition, VerdictNotAllowed
from approvals.models import Decision, Message, Verdict
from approvals.ruling import ruling_for
from approvals.settle import advance
from approvals.states import DecisionEvent, DecisionState, MessageState, Outcome
from audit.recording import record
from common.fingerprint import short_fingerprint
from common.identifiers import crockford
from people.actors import Actor, Role

REFERENCE_BITS = 50


@dataclass(frozen=True)
class Given:
    """A verdict with the decision it led to."""

    verdict: Verdict
    decision: Decision


@transaction.atomic
def give_verdict(*, message: UUID, actor: Actor, outcome: str, fingerprint: str, reason: str, now: datetime) -> Given:
    """Record one person's verdict on the revision they were shown, and the decision when enough agree.

    Locks the message: of two people at once the first valid verdict wins, and the second gets AlreadyDecided with the
    winner. Raises VerdictNotAllowed when the ruling refuses, ContentChanged when another content is there by now.
    """
    locked = (
        Message.objects.visible_to(actor)
        .select_for_update(of=("self",), no_key=True)
        .select_related("connection", "mailbox", "revision")
        .filter(public_id=message)
        .first()
    )
    if locked is None:
        raise VerdictNotAllowed("This message does not exist, or you may not see it.")
    _refuse_if_decided(locked)
    ruling = ruling_for(locked, actor=actor, now=now)
    allowed = ruling.may_approve if outcome == Outcome.APPROVE else ruling.may_reject
    if not allowed:
        raise VerdictNotAllowed(ruling.reasons[0])
    if locked.revision is None or locked.revision.fingerprint != fingerprint:
        raise _content_changed(locked, fingerprint)
    verdict = Verdict.objects.create(
        message=locked,
        revision=locked.revision,
        person_id=int(actor.id),
        outcome=outcome,
        reason=reason,
        surface=actor.surface,
    )
    return Given(verdict, _record_decision(locked, verdict, actor))


@transaction.atomic
def undo_decision(*, message: UUID, actor: Actor, now: datetime) -> Decision:
    """Take a decision back while nothing has left. Raises AlreadyDecided when it is too late for that."""
    visible = Message.objects.visible_to(actor).select_related("connection", "mailbox")
    locked = visible.select_for_update(of=("self",), no_key=True).get(public_id=message)
    if not actor.is_a(Role.REVIEWER, connection=locked.connection_id, mailbox=locked.mailbox_id):
        raise VerdictNotAllowed("Only a reviewer of this mailbox can undo a decision.")
    decision = locked.decisions.to_settle().first()
    if decision is None or decision.may_have_left:
        raise AlreadyDecided("It is too late to undo: the decision has been carried out.", decision=decision)
    try:
        return advance(decision, event=DecisionEvent.UNDO, actor=actor, explanation=f"Undone by {actor.label}.")
    except InvalidTransition:
        raise AlreadyDecided("It is too late to undo: the decision is being carried out.", decision=decision) from None


def _refuse_if_decided(message: Message) -> None:
    decision = message.decisions.select_related("given_by").order_by("-pk").first()
    if decision is not None and decision.state not in (DecisionState.UNDONE, DecisionState.REFUSED):
        who = decision.given_by or "Somebody"
        when = f"{decision.recorded_at:%H:%M:%S} UTC"
        raise AlreadyDecided(f"{who} {decision.word} this message first, at {when}.", decision=decision)
    if message.state != MessageState.HELD:
        what = MessageState(message.state).label.lower()
        raise AlreadyDecided(f"This message is not held any more: it is {what}.")


def _content_changed(message: Message, shown: str) -> ContentChanged:
    current = message.revision.fingerprint if message.revision else ""
    return ContentChanged(
        f"The message changed after you opened it: you saw {short_fingerprint(shown)}, "
        f"now it is {short_fingerprint(current)}. Read it again, then decide.",
        shown=shown,
        current=current,
    )


def _record_decision(message: Message, verdict: Verdict, actor: Actor) -> Decision:
    window = message.mailbox.undo_window if message.mailbox else timedelta(seconds=5)
    decision = Decision.objects.create(
        message=message,
        revision=verdict.revision,
        outcome=verdict.outcome,
        reason=verdict.reason,
        reference=crockford(secrets.randbits(REFERENCE_BITS), REFERENCE_BITS // 5),
        given_by_id=verdict.person_id,
        due_at=Now() + window,
    )
    decision.refresh_from_db()
    record(
        "verdict.given",
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        fingerprint=verdict.revision.fingerprint,
        details={"outcome": verdict.outcome, "reason": verdict.reason},
    )
    record(
        "decision.recorded",
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        fingerprint=verdict.revision.fingerprint,
        details={
            "outcome": decision.outcome,
            "reason": decision.reason,
            "reference": decision.reference,
            "subject": message.subject,
        },
    )
    return decision
