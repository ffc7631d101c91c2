"""Takes webhooks in: stored as received and applied in the same transaction; what
cannot be applied keeps its row.
"""

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from approvals import tasks
from approvals.caps import set_apart
from approvals.decisions import settle
from approvals.errors import EventAlreadyHandled
from audit.recording import record
from common.actors import Actor, Role, webhook
from common.logs import trace_id
from common.postgres import atomic_with_retry
from mirror import store
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Message, WebhookEvent
from mirror.recipients import addresses_of
from mirror.recording import details_of
from mirror.states import (
    MessageEvent,
    MessageState,
    contradicts,
    implied_event,
    is_correction,
    needs_confirmation,
    reported_of,
)
from mirror.sync.reads import can_ask
from upstream.events import REFUSED, TEST, Event, MisshapenEvent, UnreadableEvent, parse

log = logging.getLogger(__name__)

Result = WebhookEvent.Result
# MultiMail retries for minutes. An event that is older than this is stored and applied,
# but announced to nobody.
LONG_PAST = timedelta(hours=2)
_DECIDING = (MessageEvent.APPROVED, MessageEvent.RELEASED, MessageEvent.REJECTED)


@dataclass(frozen=True)
class Stored:
    """The result of one webhook. `fetch`: a message whose content to fetch; `ask`: a
    message to ask MultiMail about.

    A result of CHECKING asks for a read of what was reported. `problem` says why the
    body is not an event of MultiMail, and is returned to the sender.
    """

    event: WebhookEvent | None
    result: str
    fetch: Message | None = None
    ask: Message | None = None
    problem: str = ""


@dataclass(frozen=True)
class Applied:
    """What one event did. `contradicts`: the message is in a state that no such event
    leads to; MultiMail is asked.
    """

    result: WebhookEvent.Result
    fetch: Message | None = None
    ask: Message | None = None
    contradicts: bool = False

    @property
    def is_open(self) -> bool:
        """Whether a read or a person has to deal with the event."""
        return self.contradicts or self.result in (Result.CHECKING, Result.POISON)


def receive_webhook(
    *, connection: Connection, body: bytes, secret_used: str, address: str = ""
) -> Stored:
    """Store and apply one webhook whose signature was checked. One transaction; never
    raises for what a body holds.

    Raises OperationalError when PostgreSQL could not do it now; then nothing is stored.
    """
    event = Event(kind="", name="")
    error = ""
    problem = ""
    try:
        event = parse(body)
    except UnreadableEvent as unreadable:
        error = str(unreadable)
        problem = error
    except MisshapenEvent as misshapen:
        event = misshapen.event
        error = str(misshapen)
    row = WebhookEvent(
        connection=connection,
        digest=hashlib.sha256(body).hexdigest(),
        event_id=event.event_id[:200],
        name=event.name[:64],
        email_id=event.email_id[:200],
        body=body,
        secret_used=secret_used,
        error=error,
        trace=trace_id.get(),
    )
    actor = webhook(connection.slug, address=address)
    try:
        stored = _store_once(row, event, actor)
    except (OperationalError, InterfaceError):
        # A lost database connection is not the event's fault. Nothing is stored, and
        # MultiMail sends it again.
        raise
    except Exception as failure:
        log.exception("webhook not applied", extra={"connection": connection.slug})
        row.error = _failed(failure)
        stored = _store_once(row, event, actor)
    return replace(stored, problem=problem)


def _failed(failure: Exception) -> str:
    return f"{type(failure).__name__} while applying; see the log."


def _store_once(row: WebhookEvent, event: Event, actor: Actor) -> Stored:
    """Store and apply it, unless it came before."""
    try:
        return _store(row, event, actor)
    except IntegrityError:
        # When the same webhook comes twice at once, the second waited for the first.
        if not WebhookEvent.objects.same_as(row).exists():
            raise
        return Stored(None, Result.DUPLICATE)


@atomic_with_retry
def _store(row: WebhookEvent, event: Event, actor: Actor) -> Stored:
    row.pk = None
    row.result = Result.POISON if row.error else Result.APPLIED
    row.save(force_insert=True)
    if row.error:
        details = {"event": row.name, "explanation": row.error}
        record(
            "webhook.poison", actor=actor, connection=row.connection_id, details=details
        )
        return Stored(row, Result.POISON)
    applied = apply_event(connection=row.connection, event=event, actor=actor)
    if applied.result != row.result:
        write_result(row, applied)
    return Stored(row, applied.result, fetch=applied.fetch, ask=applied.ask)


def write_result(row: WebhookEvent, applied: Applied, error: str = "") -> None:
    """Store what applying an event did, or why it could not be applied."""
    row.result = applied.result
    row.error = error
    handled_at = None if applied.is_open else Now()
    WebhookEvent.objects.filter(pk=row.pk).update(
        result=row.result, error=error, handled_at=handled_at
    )


def apply_event(
    *, connection: Connection, event: Event, actor: Actor, is_confirmed: bool = False
) -> Applied:
    """Move the mirror by one event and settle a decision of ours that it speaks of, in
    the caller's transaction.

    An event that ends a message changes nothing until a read confirms it: then it is
    applied again, perhaps as `is_confirmed`. What tells of a decision of ours needs no
    read.
    """
    if event.name in (REFUSED, TEST):
        return Applied(Result.APPLIED)
    if not event.kind:
        record(
            "webhook.unknown",
            actor=actor,
            connection=connection.pk,
            details={"event": event.name},
        )
        return Applied(Result.UNKNOWN)
    # By the database's clock, as all stored times: this host's clock may be wrong.
    now = store.lock_upstream_id(connection, event.email_id)
    message = store.locked_message(connection, event.email_id)
    is_old = event.at is not None and event.at < now - LONG_PAST
    if message is None:
        return _begin(connection, event, actor, now, is_old=is_old)
    if not is_confirmed and needs_read(message, event):
        # It is noted what was reported of the message, which stays as it is; nothing
        # else of the event is used.
        message.reported = _kind(event, message.direction)
        message.save(update_fields=["reported"])
        details = {
            "event": event.name,
            "reason": event.reason,
            "decided_by": event.decided_by,
        }
        _record("webhook.unconfirmed", message, actor, details=details)
        return Applied(Result.CHECKING)
    was = message.state
    applied = _apply_to_known(message, event, actor, now, is_old=is_old)
    if not is_correction(was, _kind(event, message.direction)):
        return applied
    # No read has told which is true, so a person has to know of both.
    return Applied(Result.LATE, ask=message, contradicts=True)


def _begin(
    connection: Connection, event: Event, actor: Actor, now: datetime, *, is_old: bool
) -> Applied:
    """Create the message from the first event about it; past a cap it is set apart, and
    has no card.
    """
    kind = _kind(event, event.direction)
    is_pending = kind == MessageEvent.PENDING
    # It was held then. Whether it still is, only MultiMail knows; a read that finds it
    # held announces it.
    is_doubtful = is_old and is_pending
    begins = MessageEvent.GONE if is_doubtful else kind
    message = store.begin_message(connection, event, begins=begins, now=now)
    is_apart = False
    if is_pending and not message.is_inbound:
        is_apart = set_apart(
            message, key=event.key, key_name=event.key_name, actor=actor
        )
    if is_old:
        _record_late(message, event, actor)
    else:
        _record_event(message, event, kind, actor, is_apart=is_apart)
    ask = message if is_doubtful or (not is_pending and message.is_unnamed) else None
    if is_old:
        return Applied(Result.LATE, ask=ask)
    return Applied(Result.APPLIED, fetch=message if is_pending else None, ask=ask)


def needs_read(message: Message, event: Event) -> bool:
    """Whether an event ends a locked message or a decision in doubt, nothing but the
    event says so, and a read can.

    Where MultiMail cannot be asked about one message, only what the whole list shows
    can be checked: held messages.
    """
    kind = _kind(event, message.direction)
    is_held = message.is_held
    if not is_held and not can_ask(message):
        return False
    settles = kind in _DECIDING and not is_held
    if not needs_confirmation(message.state, kind) and not (
        settles and settle.decisions_to_settle(message)
    ):
        return False
    return not settle.is_of_ours(message, event=kind, reason=event.reason)


def _apply_to_known(
    message: Message, event: Event, actor: Actor, now: datetime, *, is_old: bool
) -> Applied:
    """Apply an event to a message that is known: forward, or only what it adds and what
    it says of a decision.
    """
    before = message.state
    was_called = _called(message)
    store.fill_from_event(message, event)
    kind = _kind(event, message.direction)
    if kind == MessageEvent.PENDING and before == MessageState.HELD:
        # A read of MultiMail found it before its webhook came: nothing is new, unless
        # it names other content.
        ask = message if _names_other_content(message, event) else None
        return Applied(Result.LATE if is_old else Result.APPLIED, ask=ask)
    moved = store.move(message, event=kind, now=now, status=event.status)
    if message.is_inbound and message.state == MessageState.APPROVED:
        # Its direction was not known when it was reported as approved.
        moved = store.move(message, event=MessageEvent.RELEASED, now=now)
    if kind in _DECIDING:
        # Also for an event that comes too late to move the message: what it says about
        # the decision is still true.
        settle.settle_by_report(
            message,
            reported=reported_of(event.kind, ""),
            reason=event.reason,
            decided_by=event.decided_by,
            actor=actor,
        )
    if not moved:
        if _called(message) == was_called:
            _record_late(message, event, actor)
        else:
            # It moved nothing but says what the message is: cards show that.
            details = _details(message, event)
            details["event"] = event.name
            _record("message.named", message, actor, details=details)
        is_other = contradicts(message.state, kind)
        # Only a read may reopen what was considered gone, or of which only webhooks
        # told the end.
        may_be_held = kind == MessageEvent.PENDING and (
            message.state == MessageState.GONE or message.hydrated_at is None
        )
        ask = message if is_other or may_be_held else None
        return Applied(Result.LATE, ask=ask, contradicts=is_other)
    if kind == MessageEvent.PENDING and not message.is_held:
        kind = MessageEvent.RELEASED
    if implied := implied_event(before, kind):
        _record_event(
            message,
            event,
            implied,
            actor,
            found=f"it is {kind}, which no event had reported",
        )
    _record_event(message, event, kind, actor)
    return Applied(
        Result.LATE if is_old else Result.APPLIED,
        fetch=message if kind == MessageEvent.PENDING else None,
    )


def _kind(event: Event, direction: str) -> str:
    is_inbound = "inbound" in (direction, event.direction)
    if event.kind == MessageEvent.APPROVED and is_inbound:
        return MessageEvent.RELEASED
    return event.kind


def _names_other_content(message: Message, event: Event) -> bool:
    """Whether an event gives a held message another subject or other recipients than
    were read; only a read counts.
    """
    if message.hydrated_at is None:
        return False
    if event.subject and event.subject != message.subject:
        return True
    named = addresses_of(event.to, sender=event.sender, direction=event.direction)
    return not set(named) <= set(message.addresses)


def _called(message: Message) -> tuple[object, ...]:
    """The fields by which people recognise the message."""
    return message.subject, message.sender, message.recipients, message.trigger


def _record_late(message: Message, event: Event, actor: Actor) -> None:
    _record("webhook.late", message, actor, details={"event": event.name})


def _record_event(
    message: Message,
    event: Event,
    kind: str,
    actor: Actor,
    *,
    found: str = "",
    is_apart: bool | None = None,
) -> None:
    details = _details(message, event, is_apart)
    details["reason"] = "" if found else event.reason
    details["found"] = found
    _record(
        "message.held" if kind == MessageEvent.PENDING else f"message.{kind}",
        message,
        actor,
        fingerprint=message.fingerprint,
        details=details,
    )


def _record(action: str, message: Message, actor: Actor, **fields: Any) -> None:
    record(
        action,
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        about=message,
        **fields,
    )


def _details(
    message: Message, event: Event, is_apart: bool | None = None
) -> dict[str, str]:
    """Return what the ledger keeps of a message; where `is_apart` is not known, its
    review is read.
    """
    details = details_of(message, key=event.key_name or event.key)
    if message.review.is_apart if is_apart is None else is_apart:
        details["brake"] = str(message.review.brake_id)
    return details


@transaction.atomic
def replay_event(*, event_id: int, actor: Actor) -> str:
    """Apply a stored event again and return its new result; if it worked, the event
    counts as handled.

    Raises EventAlreadyHandled where nothing is left to replay, and ActNotAllowed for
    anybody but an admin there.
    """
    row = _lock_event(event_id, actor)
    applied, error = apply_again(row, actor=actor)
    write_result(row, applied, error)
    if row.result == Result.CHECKING:
        tasks.check_reports.delay_on_commit(row.connection_id)
    _record_handled("webhook.replayed", row, actor)
    return row.result


@transaction.atomic
def dismiss_event(*, event_id: int, actor: Actor) -> WebhookEvent:
    """Mark a stored event as handled without applying it. Raises as `replay_event`
    does.
    """
    row = _lock_event(event_id, actor)
    WebhookEvent.objects.filter(pk=row.pk).update(handled_at=Now())
    _record_handled("webhook.dismissed", row, actor)
    return row


def _lock_event(event_id: int, actor: Actor) -> WebhookEvent:
    # Lock only the event's row, so that webhooks for its connection do not wait.
    rows = WebhookEvent.objects.to_look_at().select_for_update(
        of=("self",), no_key=True
    )
    row = rows.select_related("connection").filter(pk=event_id).first()
    if row is None:
        raise EventAlreadyHandled(
            "There is nothing left to do: somebody has dealt with this event."
        )
    if not actor.is_a(Role.ADMIN, connection=row.connection_id, mailbox=None):
        raise ActNotAllowed(
            "Only an admin of this connection can deal with its events."
        )
    return row


def apply_again(
    row: WebhookEvent, *, actor: Actor, is_confirmed: bool = False
) -> tuple[Applied, str]:
    """Apply a stored event in the caller's transaction, and return what it did and why
    it could not be applied.
    """
    try:
        event = parse(bytes(row.body))
        with transaction.atomic():
            applied = apply_event(
                connection=row.connection,
                event=event,
                actor=actor,
                is_confirmed=is_confirmed,
            )
    except (UnreadableEvent, MisshapenEvent) as error:
        return Applied(Result.POISON), str(error)
    except OperationalError:
        raise
    except Exception as error:
        log.exception(
            "webhook not replayed",
            extra={"event": row.pk, "connection": row.connection.slug},
        )
        return Applied(Result.POISON), _failed(error)
    return applied, ""


def _record_handled(action: str, row: WebhookEvent, actor: Actor) -> None:
    record(
        action,
        actor=actor,
        connection=row.connection_id,
        details={"event": row.name, "result": row.result, "explanation": row.error},
    )
