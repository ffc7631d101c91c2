"""Stores webhooks whose signature was checked, and applies their events: the mirror's
message moves to its new state, and a decision that the event speaks of is settled. A
webhook is stored as it was received, in the same transaction; if it cannot be applied,
its row is kept as "poison", for an admin to replay or dismiss.

An event that ends a message changes nothing until a read of MultiMail confirms it,
because anybody who knows the signing secret could have sent it. Until then it waits
with the result CHECKING, and the message stays as it is.
"""

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from approvals import tasks
from approvals.caps import set_apart
from approvals.decisions import settle
from approvals.errors import EventAlreadyHandled
from common.actors import Actor, Role, webhook
from common.logs import trace_id
from common.postgres import atomic_with_retry, is_away
from mirror import store
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Message, WebhookEvent
from mirror.models.webhooks import WebhookEventQuerySet
from mirror.recipients import addresses_of
from mirror.recording import (
    details_of,
    outcome_of,
    record_about,
    record_of_connection,
)
from mirror.states import (
    MessageEvent,
    MessageState,
    contradicts,
    implied_event,
    is_correction,
    needs_confirmation,
    reported_of,
)
from mirror.sync.health import ACTOR
from mirror.sync.reads import can_ask
from upstream.events import REFUSED, TEST, Event, MisshapenEvent, UnreadableEvent, parse

Result = WebhookEvent.Result
# The fields of a message that applying an event may change.
_MOVED = (
    "state",
    "changed_at",
    "upstream_status",
    "upstream_reason",
    "upstream_decided_by",
)


_STILL_HELD = "A read found that MultiMail still holds it."
# What a read found: MultiMail does not know the message; it told the message's state,
# which has been applied; or there was no read.
ABSENT = "absent"
TOLD = "told"
NO_READ = "no read"


def apply_waiting(
    message: Message, *, read: str, before: datetime | None = None
) -> None:
    """Apply or refute the events about a locked message that wait to be confirmed, in
    the caller's transaction; `read` is what a read found.

    - TOLD: an event that would still need a read is refuted if it came `before` the
      read began, and waits on otherwise; the others are applied.
    - ABSENT: all events are applied, since nothing better is known.
    - NO_READ: events that no longer need a read are applied; the others wait on.

    An event that was applied but contradicts the state of the message is refuted too.
    """
    actor = webhook(message.connection.slug)
    refuted = []
    for row in (
        WebhookEvent.objects.unconfirmed_about(message)
        .select_related("connection")
        .order_by("pk")
    ):
        if read != ABSENT and needs_read(message, parse(bytes(row.body))):
            if read == TOLD and before and row.received_at < before:
                refuted.append(row.pk)
            continue
        state_before = message.state
        applied = apply_again(row, actor, is_confirmed=read == ABSENT)
        message.refresh_from_db(fields=_MOVED)
        if applied.contradicts and message.state == state_before:
            refuted.append(row.pk)
            continue
        write_result(row, applied)
    state = MessageState(message.state).label.lower()
    _refute(
        message,
        WebhookEvent.objects.filter(pk__in=refuted),
        f"A read found that it is {state}.",
    )


def refute(message: Message, *, before: datetime) -> None:
    """Refute the events about the end of a locked message that came `before` a time: a
    read that began then found that MultiMail still holds it.
    """
    events = WebhookEvent.objects.unconfirmed_about(message)
    _refute(message, events.filter(received_at__lt=before), _STILL_HELD)


def overrule(message: Message) -> None:
    """Refute all events about the end of a locked message, because a read has just
    reopened it.
    """
    _refute(message, WebhookEvent.objects.ends_of(message), _STILL_HELD)
    _forget_report(message)


def _refute(message: Message, events: WebhookEventQuerySet, explanation: str) -> None:
    """Refute these events of a message. If no other event waits to be confirmed, clear
    what was reported of it.
    """
    names = list(events.order_by("pk").values_list("name", flat=True))
    if names:
        events.update(result=Result.REFUTED, handled_at=None)
        record_about(
            "webhook.refuted",
            message,
            ACTOR,
            details={
                "event": ", ".join(dict.fromkeys(names)),
                "explanation": explanation,
            },
        )
    if not WebhookEvent.objects.unconfirmed_about(message).exists():
        _forget_report(message)


def _forget_report(message: Message) -> None:
    message.reported = ""
    message.save(update_fields=["reported"])


log = logging.getLogger(__name__)
# MultiMail repeats a webhook for some minutes. An event that is older than this is
# stored and applied, but no alert is sent for it.
LONG_PAST = timedelta(hours=2)
_DECIDING = (MessageEvent.APPROVED, MessageEvent.RELEASED, MessageEvent.REJECTED)


@dataclass(frozen=True)
class Applied:
    """What applying one event did, and what the caller has to enqueue: a fetch of the
    content of `fetch`, a question to MultiMail about `ask`, and if the result is
    CHECKING, a read that confirms what was reported.

    `contradicts` says that the event does not fit the state of its message, so that
    MultiMail is asked; `error` why it could not be applied. `event` is the row of a
    webhook that was just stored, None if the same one came before; `problem` says why
    its body is no event of MultiMail, which is returned to the sender.
    """

    result: WebhookEvent.Result
    fetch: Message | None = None
    ask: Message | None = None
    contradicts: bool = False
    error: str = ""
    event: WebhookEvent | None = None
    problem: str = ""


def receive_webhook(
    *, connection: Connection, body: bytes, secret_used: str, address: str = ""
) -> Applied:
    """Store and apply one webhook whose signature was checked, in one transaction.

    `secret_used` names the secret that signed it, `address` is the sender's. No content
    of a body raises an error. Raises a DatabaseError if the database failed; then nothing
    is stored.
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
    except Exception as failure:
        if is_away(failure):
            # The database failed, not the event. Nothing is stored, and MultiMail sends
            # it again.
            raise
        log.exception("webhook not applied", extra={"connection": connection.slug})
        # Store the webhook as poison.
        row.error = _failed(failure)
        stored = _store_once(row, event, actor)
    return replace(stored, problem=problem)


def _failed(failure: Exception) -> str:
    return f"{type(failure).__name__} while applying; see the log."


def _store_once(row: WebhookEvent, event: Event, actor: Actor) -> Applied:
    """Store and apply a webhook, unless the same one is stored already."""
    try:
        return _store(row, event, actor)
    except IntegrityError:
        # Raised for the second of two equal webhooks, also if both came at the same
        # time.
        if not WebhookEvent.objects.same_as(row).exists():
            raise
        return Applied(Result.DUPLICATE)


@atomic_with_retry
def _store(row: WebhookEvent, event: Event, actor: Actor) -> Applied:
    # Not the key of an earlier try, whose transaction was aborted.
    row.pk = None
    row.result = Result.POISON if row.error else Result.APPLIED
    row.save(force_insert=True)
    if row.error:
        record_of_connection(
            "webhook.poison",
            row.connection,
            actor,
            event=row.name,
            explanation=row.error,
        )
        return Applied(Result.POISON, error=row.error, event=row)
    applied = apply_event(connection=row.connection, event=event, actor=actor)
    if applied.result != row.result:
        write_result(row, applied)
    return replace(applied, event=row)


def write_result(row: WebhookEvent, applied: Applied) -> None:
    """Store on the row of a webhook what applying it did, or why it failed."""
    row.result = applied.result
    row.error = applied.error
    # Whether a read or a person still has to deal with it.
    is_open = applied.contradicts or row.result in (Result.CHECKING, Result.POISON)
    WebhookEvent.objects.filter(pk=row.pk).update(
        result=row.result, error=row.error, handled_at=None if is_open else Now()
    )


def apply_event(
    *, connection: Connection, event: Event, actor: Actor, is_confirmed: bool = False
) -> Applied:
    """Apply one event in the caller's transaction: move its message in the mirror, and
    settle a decision of this desk that it speaks of.

    An event that ends a message is only noted until a read confirms it, unless it
    follows from a decision of this desk. With `is_confirmed`, it is applied without a
    read.
    """
    if event.name in (REFUSED, TEST):
        return Applied(Result.APPLIED)
    if not event.kind:
        record_of_connection("webhook.unknown", connection, actor, event=event.name)
        return Applied(Result.UNKNOWN)
    # The database's time, like all stored times: this host's clock may be wrong.
    now = store.lock_upstream_id(connection, event.email_id)
    message = store.locked_message(connection, event.email_id, "review")
    is_old = event.at is not None and event.at < now - LONG_PAST
    if message is None:
        return _begin(connection, event, actor, now, is_old=is_old)
    if not is_confirmed and needs_read(message, event):
        # Only note what was reported. The message stays as it is, and nothing else of
        # the event is used.
        if not message.reported:
            # Asked at once, though it may have been asked about a moment ago.
            message.asked_at = None
        message.reported = _kind(event, message.direction)
        message.save(update_fields=["reported", "asked_at"])
        record_about(
            "webhook.unconfirmed",
            message,
            actor,
            details={
                "event": event.name,
                "reason": event.reason,
                "decided_by": event.decided_by,
            },
        )
        return Applied(Result.CHECKING)
    state_before = message.state
    applied = _apply_to_known(message, event, actor, now, is_old=is_old)
    if not is_correction(state_before, _kind(event, message.direction)):
        return applied
    # The event says that a message was sent which had ended without being sent. No read
    # has shown which is true, so a person has to know.
    return Applied(Result.LATE, ask=message, contradicts=True)


def _begin(
    connection: Connection, event: Event, actor: Actor, now: datetime, *, is_old: bool
) -> Applied:
    """Create a message from the first event about it. If it is past a cap, it is set
    apart.
    """
    kind = _kind(event, event.direction)
    is_pending = kind == MessageEvent.PENDING
    # An old event says that the message was held; it may not be any more. So it begins
    # as gone, and MultiMail is asked: if it is still held, the read reopens it.
    is_doubtful = is_old and is_pending
    begins = MessageEvent.GONE if is_doubtful else kind
    message = store.begin_message(connection, event, begins=begins, now=now)
    if is_pending and not message.is_inbound:
        set_apart(message, key=event.key, key_name=event.key_name, actor=actor)
    if is_old:
        _record_late(message, event, actor)
    else:
        _record_event(message, event, kind, actor)
    ask = message if is_doubtful or (not is_pending and message.is_unnamed) else None
    if is_old:
        return Applied(Result.LATE, ask=ask)
    return Applied(Result.APPLIED, fetch=message if is_pending else None, ask=ask)


def needs_read(message: Message, event: Event) -> bool:
    """Whether a read must confirm an event before it is applied: it ends a locked
    message or settles a decision, it does not follow from a decision of this desk, and
    a read can show whether it is true.

    If MultiMail cannot be asked about a single message, only events about held messages
    can be confirmed, by its list of all held messages.
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
    """Apply an event to a message that the mirror has. If the event is too late to move
    it, it may still add fields or settle a decision.
    """
    state_before = message.state
    fields_before = _identifying_fields(message)
    store.fill_from_event(message, event)
    kind = _kind(event, message.direction)
    if kind == MessageEvent.PENDING and state_before == MessageState.HELD:
        # A read found the message before its webhook came. So nothing is new, unless
        # the event names other content.
        ask = message if _names_other_content(message, event) else None
        return Applied(Result.LATE if is_old else Result.APPLIED, ask=ask)
    moved = store.move(message, event=kind, now=now, status=event.status)
    if message.is_inbound and message.state == MessageState.APPROVED:
        # It was reported as approved before its direction was known; received mail is
        # released.
        moved = store.move(message, event=MessageEvent.RELEASED, now=now)
    if kind in _DECIDING:
        # Also for an event that is too late to move the message: what it says about the
        # decision is true all the same.
        settle.settle_by_report(
            message,
            reported=reported_of(event.kind, ""),
            reason=event.reason,
            decided_by=event.decided_by,
            ended_by=event.ended_by,
            actor=actor,
        )
    if not moved:
        if _identifying_fields(message) == fields_before:
            _record_late(message, event, actor)
        else:
            # It did not move the message, but added its subject or addresses, which
            # cards show.
            details = _details(message, event)
            details["event"] = event.name
            record_about("message.named", message, actor, details=details)
        is_other = contradicts(message.state, kind)
        # Only a read may reopen a message that was considered gone, or whose end is
        # known only from webhooks.
        may_be_held = kind == MessageEvent.PENDING and (
            message.state == MessageState.GONE or message.hydrated_at is None
        )
        ask = message if is_other or may_be_held else None
        return Applied(Result.LATE, ask=ask, contradicts=is_other)
    if kind == MessageEvent.PENDING and not message.is_held:
        kind = MessageEvent.RELEASED
    if implied := implied_event(state_before, kind):
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
    # The event as one of `MessageEvent`: received mail is not approved but released.
    is_inbound = "inbound" in (direction, event.direction)
    if event.kind == MessageEvent.APPROVED and is_inbound:
        return MessageEvent.RELEASED
    return event.kind


def _names_other_content(message: Message, event: Event) -> bool:
    """Whether an event gives a held message another subject, or other recipients, than
    the last read. Then MultiMail is asked, since only a read changes the content.
    """
    if message.hydrated_at is None:
        return False
    if event.subject and event.subject != message.subject:
        return True
    named_addresses = addresses_of(
        event.to, sender=event.sender, direction=event.direction
    )
    return not set(named_addresses) <= set(message.addresses)


def _identifying_fields(message: Message) -> tuple[object, ...]:
    """Return the fields by which people recognise the message."""
    return message.subject, message.sender, message.recipients, message.trigger


def _record_late(message: Message, event: Event, actor: Actor) -> None:
    record_about("webhook.late", message, actor, details={"event": event.name})


def _record_event(
    message: Message,
    event: Event,
    kind: str,
    actor: Actor,
    *,
    found: str = "",
) -> None:
    details = _details(message, event)
    # Later events repeat the reason of the decision, which is not why they happened.
    if kind in settle.WITH_REASON and not found:
        details["reason"] = event.reason
    details["found"] = found
    record_about(
        "message.held" if kind == MessageEvent.PENDING else f"message.{kind}",
        message,
        actor,
        about=message,
        fingerprint=message.fingerprint,
        details=details,
        outcome=outcome_of(message, kind),
    )
    settle.note_elsewhere(message, kind, actor)


def _details(message: Message, event: Event) -> dict[str, str]:
    """Return the details of a message for a ledger entry, with its brake if it is set
    apart.
    """
    details = details_of(message, key=event.key_name or event.key)
    if message.review.is_apart:
        details["brake"] = str(message.review.brake_id)
    return details


@transaction.atomic
def replay_event(*, event_id: int, actor: Actor) -> str:
    """Apply a stored event again, and return its new result. If that worked, the event
    counts as handled.

    Raises EventAlreadyHandled if nothing is left to do, and ActNotAllowed if the actor
    is no admin of the connection.
    """
    row = _lock_event(event_id, actor)
    write_result(row, apply_again(row, actor))
    if row.result == Result.CHECKING:
        tasks.check_reports.delay_on_commit(row.connection_id)
    _record_handled("webhook.replayed", row, actor)
    return row.result


@transaction.atomic
def dismiss_event(*, event_id: int, actor: Actor) -> None:
    """Mark a stored event as handled without applying it. Raises as `replay_event`
    does.
    """
    row = _lock_event(event_id, actor)
    WebhookEvent.objects.filter(pk=row.pk).update(handled_at=Now())
    _record_handled("webhook.dismissed", row, actor)


def _lock_event(event_id: int, actor: Actor) -> WebhookEvent:
    # Locks only the event's row, so that webhooks for its connection need not wait.
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
    row: WebhookEvent, actor: Actor, *, is_confirmed: bool = False
) -> Applied:
    """Apply a stored event in the caller's transaction. Return what that did."""
    try:
        event = parse(bytes(row.body))
        with transaction.atomic():
            return apply_event(
                connection=row.connection,
                event=event,
                actor=actor,
                is_confirmed=is_confirmed,
            )
    except (UnreadableEvent, MisshapenEvent) as error:
        return Applied(Result.POISON, error=str(error))
    except Exception as error:
        if is_away(error):
            raise
        log.exception(
            "webhook not replayed",
            extra={"event": row.pk, "connection": row.connection.slug},
        )
        return Applied(Result.POISON, error=_failed(error))


def _record_handled(action: str, row: WebhookEvent, actor: Actor) -> None:
    record_of_connection(
        action,
        row.connection,
        actor,
        event=row.name,
        result=row.result,
        explanation=row.error,
    )
