"""Takes webhooks in: stored as received, applied in a savepoint, so that a poison event keeps its row."""

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, OperationalError, transaction

from approvals import mirror, settle
from approvals.models import Connection, Message, WebhookEvent
from approvals.states import MessageEvent, MessageState
from audit.recording import record
from common.logs import trace_id
from people.actors import Actor, webhook
from upstream.events import Event, UnreadableEvent, parse

log = logging.getLogger(__name__)

Result = WebhookEvent.Result
_DECIDING = (MessageEvent.APPROVED, MessageEvent.RELEASED, MessageEvent.REJECTED)


@dataclass(frozen=True)
class Stored:
    """What became of one webhook. `message` is set where its content should now be fetched."""

    event: WebhookEvent | None
    result: str
    message: Message | None = None
    problem: str = ""


@transaction.atomic
def receive_webhook(*, connection: Connection, body: bytes, secret_used: str, now: datetime) -> Stored:
    """Store and apply one webhook whose signature was checked. One transaction; never raises for what a body holds.

    Raises OperationalError when PostgreSQL could not do it now; then nothing is stored.
    """
    try:
        event, problem = parse(body), ""
    except UnreadableEvent as error:
        event, problem = Event(kind="", name=""), str(error)
    try:
        # When the same webhook comes twice at once, the second waits here for the first and then finds it.
        with transaction.atomic():
            row = WebhookEvent.objects.create(
                connection=connection,
                digest=hashlib.sha256(body).hexdigest(),
                event_id=event.event_id[:200],
                name=event.name[:64],
                body=body,
                secret_used=secret_used,
                result=Result.POISON if problem else Result.APPLIED,
                error=problem,
                trace=trace_id.get(),
            )
    except IntegrityError:
        return Stored(None, Result.DUPLICATE, problem=problem)
    actor = webhook(connection.slug)
    if problem:
        record("webhook.poison", actor=actor, connection=connection.pk, details={"explanation": problem})
        return Stored(row, Result.POISON, problem=problem)
    return _apply_guarded(connection, row, event, actor, now)


def _apply_guarded(connection: Connection, row: WebhookEvent, event: Event, actor: Actor, now: datetime) -> Stored:
    try:
        with transaction.atomic():
            result, message = apply_event(connection=connection, event=event, actor=actor, now=now)
    except OperationalError:
        # A deadlock, a lost connection: no fault of this event. Nothing is stored, and MultiMail sends it again.
        raise
    except Exception as error:
        log.exception("webhook not applied", extra={"event": row.pk, "connection": connection.slug})
        result, message, row.error = Result.POISON, None, f"{type(error).__name__} while applying; see the log."
        record("webhook.poison", actor=actor, connection=connection.pk, details={"explanation": row.error})
    if result != row.result:
        row.result = result
        row.save(update_fields=["result", "error"])
    return Stored(row, result, message)


def apply_event(
    *, connection: Connection, event: Event, actor: Actor, now: datetime
) -> tuple[WebhookEvent.Result, Message | None]:
    """Move the mirror by one event and settle a decision of ours that it speaks of."""
    if not event.kind or not event.email_id:
        record("webhook.unknown", actor=actor, connection=connection.pk, details={"event": event.name})
        return Result.UNKNOWN, None
    message = mirror.lock_message(connection, upstream_id=event.email_id)
    kind = event.kind
    if kind == MessageEvent.APPROVED and (message.direction if message else event.direction) == "inbound":
        kind = MessageEvent.RELEASED
    if message is None:
        message = _begin(connection, event, kind, now)
        applied = message is not None
    elif kind == MessageEvent.PENDING and message.state == MessageState.HELD:
        # A read of MultiMail found it before its webhook came: there is nothing new to tell.
        return Result.APPLIED, None
    else:
        applied = mirror.move(message, event=kind, now=now, status=event.status)
    if message is not None and kind in _DECIDING:
        # Also one that comes too late to move the message: what it says of the decision still holds.
        _settle(message, event, actor)
    if message is None or not applied:
        record(
            "webhook.late",
            actor=actor,
            connection=connection.pk,
            message=message.public_id if message else None,
            details={"event": event.name},
        )
        return Result.LATE, None
    if kind in _DECIDING:
        message.upstream_reason = event.reason
        message.upstream_decided_by = mirror.fitting("upstream_decided_by", event.decided_by)
        message.save(update_fields=["upstream_reason", "upstream_decided_by"])
    _record_event(message, event, kind, actor)
    return Result.APPLIED, message if kind == MessageEvent.PENDING else None


def _begin(connection: Connection, event: Event, kind: str, now: datetime) -> Message | None:
    return mirror.create_message(
        connection,
        upstream_id=event.email_id,
        event=kind,
        now=now,
        mailbox=mirror.find_mailbox(connection, upstream_id=event.mailbox_id, address=event.mailbox),
        direction=event.direction,
        thread_id=mirror.fitting("thread_id", event.thread_id),
        upstream_status=mirror.fitting("upstream_status", event.status),
        sender=mirror.fitting("sender", event.sender),
        recipients=list(event.to),
        subject=event.subject,
        trigger=dict(event.metadata),
        held_at=min(event.at, now) if event.at else now,
        trace=trace_id.get(),
    )


def _settle(message: Message, event: Event, actor: Actor) -> None:
    """Settle a decision of ours by what MultiMail says of the message."""
    reported = settle.reported_of(event.kind)
    for decision in message.decisions.to_settle():
        settle.meet_report(decision, reported=reported, reason=event.reason, decided_by=event.decided_by, actor=actor)


def _record_event(message: Message, event: Event, kind: str, actor: Actor) -> None:
    action = "message.held" if kind == MessageEvent.PENDING else f"message.{kind}"
    record(
        action,
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        fingerprint=message.revision.fingerprint if message.revision else "",
        details={
            "subject": message.subject,
            "sender": message.sender,
            "recipients": ", ".join(message.recipients),
            "reason": event.reason,
            # Told where it is not what one expects.
            **({"direction": message.direction} if message.direction == "inbound" else {}),
            **trigger_details(message.trigger),
        },
    )


def trigger_details(trigger: dict[str, object]) -> dict[str, str]:
    """Return what the ledger keeps of the trigger: texts and numbers by name, as the sender wrote them."""
    return {
        f"trigger.{name}"[:80]: str(value)[:500]
        for name, value in list(trigger.items())[:30]
        if isinstance(value, str | int) and not isinstance(value, bool)
    }
