"""Keeps the mirror complete: fetches content, reads everything that is held, and finds out what became of the rest."""

import logging
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db import DataError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from approvals import asking, mirror, settle
from approvals.asking import ACTOR
from approvals.models import Connection, Message
from approvals.states import DecisionState, MessageEvent, MessageState
from audit.recording import record
from common.fingerprint import fingerprint
from common.logs import trace_id, traced

log = logging.getLogger(__name__)

READ_LEASE = timedelta(seconds=30)
READ_PAUSE = timedelta(seconds=1)
# What a row may raise whose shape nobody foresaw; anything else is not the row's fault.
_UNREADABLE = (DataError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def hydrate(*, message_id: int, now: datetime) -> str:
    """Fetch the content of one held message."""
    message = Message.objects.not_hydrated().select_related("connection").filter(pk=message_id).first()
    if message is None:
        return "nothing to fetch"
    with traced(message.trace):
        if not message.connection.is_our_gateway:
            return read_everything(connection_id=message.connection_id, now=now)
        pending = asking.ask(message.connection, email_id=message.upstream_id)
        if pending is None:
            return "unreachable"
        if pending.rows:
            if not _is_mirrored(message.connection, pending.rows[0], now):
                return "unreadable"
            log.info("content fetched", extra={"email": message.upstream_id})
            return "fetched"
        if pending.closed is None:
            # Not known there: a whole read shows what that means.
            return read_everything(connection_id=message.connection_id, now=now)
        _close(message, pending.closed, now)
        return "closed"


def read_everything(*, connection_id: int, now: datetime) -> str:
    """Reconcile one connection against everything that MultiMail holds. An error or a part of it closes nothing."""
    connection = _take_read(connection_id)
    if connection is None:
        return "not now"
    try:
        began = now
        pending = asking.ask(connection)
        if pending is None:
            return "unreachable"
        unreadable = pending.unreadable + _mirror_rows(connection, pending.rows, now)
        ids = [str(row["id"]) for row in pending.rows]
        if not pending.unreadable:
            _close_absent(connection, ids, began, now)
        Connection.objects.filter(pk=connection.pk).update(is_our_gateway=pending.is_our_gateway)
        if unreadable:
            asking.note_failure(
                connection, f"{unreadable} of the held messages could not be read; the others are here."
            )
            return f"{unreadable} unreadable"
        Connection.objects.filter(pk=connection.pk).update(complete_as_of=began)
        asking.note_recovery(connection)
        return f"{len(ids)} held"
    finally:
        Connection.objects.filter(pk=connection.pk).update(reading_until=None, read_at=Now())


def _take_read(connection_id: int) -> Connection | None:
    free = Connection.objects.filter(Q(reading_until=None) | Q(reading_until__lt=Now()), pk=connection_id)
    rested = free.filter(Q(read_at=None) | Q(read_at__lt=Now() - READ_PAUSE))
    if not rested.update(reading_until=Now() + READ_LEASE):
        return None
    return Connection.objects.get(pk=connection_id)


def _mirror_rows(connection: Connection, rows: list[dict[str, Any]], now: datetime) -> int:
    """Mirror a whole read: a transaction for each row that is new or changed, one statement for all the others.

    Return how many of them could not be read.
    """
    held = Message.objects.filter(connection=connection, state=MessageState.HELD).exclude(hydrated_at=None)
    known = dict(held.values_list("upstream_id", "revision__fingerprint"))
    unchanged, unreadable = [], 0
    for row in rows:
        with traced(uuid.uuid4().hex[:16]):
            if str(row["id"]) in known and known[str(row["id"])] == fingerprint(mirror.content_of(row)):
                unchanged.append(str(row["id"]))
            elif not _is_mirrored(connection, row, now):
                unreadable += 1
    held.filter(upstream_id__in=unchanged).update(seen_at=now)
    return unreadable


def _is_mirrored(connection: Connection, row: dict[str, Any], now: datetime) -> bool:
    """Mirror one row; False for one that cannot be read, which must not keep the others out of the queue."""
    try:
        _mirror_row(connection, row, now)
    except _UNREADABLE as error:
        # The error's own text may hold the row, and no body belongs in a log.
        log.error("row not mirrored", extra={"email": str(row["id"])[:200], "reason": type(error).__name__})
        return False
    return True


@transaction.atomic
def _mirror_row(connection: Connection, row: dict[str, Any], now: datetime) -> None:
    message = mirror.lock_message(connection, upstream_id=str(row["id"]))
    if message is None:
        message = mirror.create_message(
            connection,
            upstream_id=str(row["id"]),
            event=MessageEvent.PENDING,
            now=now,
            held_at=mirror.held_since(row, now),
            trace=trace_id.get(),
        )
        assert message is not None, "a pending message can always begin"
        mirror.store_revision(message, row=row, actor=ACTOR, now=now)
        _record_held(message, "by reading, no webhook had come")
    elif message.state in (MessageState.HELD, MessageState.SCHEDULED, MessageState.GONE):
        was_gone = message.state == MessageState.GONE
        mirror.move(message, event=MessageEvent.FOUND if was_gone else MessageEvent.PENDING, now=now)
        mirror.store_revision(message, row=row, actor=ACTOR, now=now)
        if was_gone:
            _record_held(message, "by reading, it had been taken for gone")


def _record_held(message: Message, found: str) -> None:
    record(
        "message.held",
        actor=ACTOR,
        connection=message.connection_id,
        message=message.public_id,
        fingerprint=message.revision.fingerprint if message.revision else "",
        details={"subject": message.subject, "found": found},
    )


def _close_absent(connection: Connection, held_ids: list[str], began: datetime, now: datetime) -> None:
    """Close what is held here and was not in a complete read that began after it was last seen there."""
    absent = Message.objects.filter(connection=connection, state=MessageState.HELD, seen_at__lt=began)
    for message in absent.exclude(upstream_id__in=held_ids).select_related("connection"):
        closed = None
        if connection.is_our_gateway:
            pending = asking.ask(connection, email_id=message.upstream_id)
            if pending is None or pending.rows:
                continue
            closed = pending.closed
        _close(message, closed, now)


@transaction.atomic
def _close(message: Message, closed: dict[str, Any] | None, now: datetime) -> None:
    """End a held message by what MultiMail says became of it, else by our own decision, else as gone."""
    locked = mirror.lock_message(message.connection, upstream_id=message.upstream_id)
    if locked is None or locked.state != MessageState.HELD:
        return
    word = settle.reported_of(str((closed or {}).get("decision") or ""), str((closed or {}).get("status") or ""))
    if not word:
        decision = locked.decisions.order_by("-pk").first()
        if decision and decision.state in (DecisionState.CALLING, DecisionState.UNKNOWN):
            # Our own call may be what ended it: whoever carries it out or looks it up will know more.
            return
        word = settle.report_expected(decision) if decision and decision.state == DecisionState.APPLIED else ""
    event = {
        "approved": MessageEvent.RELEASED if locked.direction == "inbound" else MessageEvent.APPROVED,
        "rejected": MessageEvent.REJECTED,
        "cancelled": MessageEvent.CANCELLED,
    }.get(word, MessageEvent.GONE)
    if closed:
        locked.upstream_reason = str(closed.get("reason") or "")
        locked.upstream_decided_by = str(closed.get("decided_by") or "")[:200]
        locked.save(update_fields=["upstream_reason", "upstream_decided_by"])
    mirror.move(locked, event=event, now=now, status=str((closed or {}).get("status") or ""))
    for decision in locked.decisions.to_settle():
        if word:
            settle.meet_report(
                decision,
                reported=word,
                reason=locked.upstream_reason,
                decided_by=locked.upstream_decided_by,
                actor=ACTOR,
            )
    record(
        f"message.{event}",
        actor=ACTOR,
        connection=locked.connection_id,
        message=locked.public_id,
        details={"found": "by reading, no webhook had come", "reason": locked.upstream_reason},
    )
