"""Stores one row of MultiMail's list of held messages in the mirror, with its content
and with what the desk makes of that (`examination`).

A row that kills the process must not do so again and again. So each try is counted in a
transaction of its own before the row is stored, and after a few tries the message is
given up and shown as unreadable. The parser reads the content between the two, outside
of any transaction.
"""

import logging
import random
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import DataError, transaction
from django.db.models import F
from django.db.models.functions import Now

from approvals import examination
from common.actors import Actor, webhook
from common.fingerprint import fingerprint
from common.logs import trace_id
from common.postgres import clock
from common.unique_keys import text_in
from common.words import MAX_TEXT
from mirror import store
from mirror.models import Connection, Message, Revision
from mirror.recording import (
    details_of,
    details_of_content,
    record_about,
    trigger_details,
)
from mirror.states import FETCH_TRIES, MessageEvent, MessageState
from mirror.sync.health import ACTOR
from parsing.client import ParserUnavailable, from_source
from risk.examined import Examined
from risk.findings import may_have_left
from upstream.events import direction_of, mail_ids

log = logging.getLogger(__name__)

# How a message was found, for the details of an entry in the ledger.
FOUND_BY_READING = "by reading, no webhook had come"
FOUND_AGAIN = "by reading, it had been taken for gone"
# The errors that a row of an unexpected form causes. Other errors are not due to the
# row.
UNREADABLE = (
    DataError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
# The least and the most seconds for which a message is put off.
SHORTEST_PAUSE = 4.0
LONGEST_PAUSE = 300.0
# The states of a message whose listed row is stored. That holds it again, if it was
# considered gone; in other states it needs `closing.reopen`.
OPEN = (MessageState.HELD, MessageState.SCHEDULED, MessageState.GONE)
# The messages that threads of this process are storing now, so that several threads
# with the same message count only one try. The value says which thread it is.
_in_progress: dict[tuple[int, str], object] = {}


def mirror_row(
    connection: Connection,
    row: Mapping[str, Any],
    now: datetime,
) -> bool:
    """Store one row in the mirror; return False if it is unreadable, which must not
    stop the other rows.

    A row that the parser has no time for is put off. A row whose message another thread
    is storing now is left to that thread.
    """
    upstream_id = str(row["id"])
    key = (connection.pk, upstream_id)
    this_thread = object()
    if _in_progress.setdefault(key, this_thread) is not this_thread:
        return True
    try:
        message = _count_try(connection, upstream_id, row, now)
        if message is None:
            return True
        # Before it is stored, only the row names the key that the parser's time counts
        # against.
        message.sent_by_key = store.fitting("sent_by_key", row.get("sent_by_key"))
        try:
            # What takes long is put off, and then has its time.
            is_first = message.read_after is None
            with from_source(*message.sources, is_hurried=is_first):
                examined = store.examined_content(message, store.content_of(row))
            _store(message, row, examined, now)
        except ParserUnavailable as error:
            _put_off(message, error)
    except UNREADABLE as error:
        # Only the error's name is logged: its text may contain the row, and so the
        # message's text.
        log.error(
            "row not mirrored",
            extra={"email": upstream_id[:200], "reason": type(error).__name__},
        )
        return False
    finally:
        del _in_progress[key]
    return True


@transaction.atomic
def _count_try(
    connection: Connection, upstream_id: str, row: Mapping[str, Any], now: datetime
) -> Message | None:
    """Count a try, and create the message if it is new. Return it; None if its content
    must not be stored: it is decided, or was given up.
    """
    message = store.lock_message(connection, upstream_id=upstream_id)
    if message is None:
        message = store.create_message(
            connection,
            upstream_id=upstream_id,
            event=MessageEvent.PENDING,
            now=now,
            held_at=store.held_since(row, now),
            subject=text_in(row, "subject", most=998),
            trace=trace_id.get(),
        )
        # Only fields that a webhook would have too. Everything else of the row is read
        # with the content, after the try was counted.
        metadata = row.get("metadata")
        key = row.get("sent_by_key_name") or row.get("sent_by_key")
        _record_held(
            message,
            FOUND_BY_READING,
            key if isinstance(key, str) else "",
            metadata if isinstance(metadata, dict) else {},
        )
    elif message.state not in OPEN or message.connection.removed_at:
        return None
    elif message.fetch_tries > FETCH_TRIES:
        if store.move(message, event=MessageEvent.FOUND, now=now):
            # MultiMail holds it again, so it must be shown as held, although its
            # content is unreadable.
            _record_found_again(message)
        return None
    message.row.update(fetch_tries=F("fetch_tries") + 1)
    if message.fetch_tries < FETCH_TRIES:
        return message
    record_about("message.unreadable", message, ACTOR)
    return None


@transaction.atomic
def _store(
    message: Message,
    row: Mapping[str, Any],
    examined: Examined,
    now: datetime,
) -> None:
    # Stores the content of a counted try, and resets the count of tries.
    locked = store.lock_current(message)
    if locked is None or locked.state not in OPEN or locked.connection.removed_at:
        return
    was_gone = locked.state == MessageState.GONE
    if was_gone:
        store.move(locked, event=MessageEvent.FOUND, now=now)
    locked.fetch_tries = 0
    locked.read_after = None
    locked.missing_since = None
    store_revision(locked, row=row, examined=examined, actor=ACTOR, now=now)
    if was_gone:
        _record_found_again(locked)


def store_revision(
    message: Message,
    *,
    row: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    examined: Examined,
) -> Revision:
    """Store what a pending row says about a locked message, and return its current
    revision: a new one only if the content changed.

    `examined` is what the parser found in the row's content before the transaction.
    """
    current = message.revision
    content = store.content_of(row)
    new_content = (
        content if current is None else store.changed_content(current, content)
    )
    whole_content = new_content or (
        store.stored_content(current) if current else content
    )
    if whole_content != content:
        # Rare: the content was put together from two sources, so it is examined here.
        examined = store.examined_content(message, whole_content)
    message.subject = whole_content.subject
    message.recipients = list(whole_content.to)
    message.sender = store.fitting("sender", whole_content.sender)
    _copy_row(message, row)
    message.aliases += [one for one in mail_ids(row) if one not in message.aliases]
    is_first = message.hydrated_at is None
    if is_first and (
        earlier := examination.version_before(message, whole_content, examined)
    ):
        message.answers = earlier
        message.try_number = earlier.try_number + 1
    if current is None or new_content is not None:
        stored = asdict(whole_content)
        current = Revision.objects.create(
            message=message,
            number=current.number + 1 if current else 1,
            coverage=stored.pop("coverage"),
            content=stored,
            fingerprint=fingerprint(whole_content),
            # Findings compare a message with others of its kind, which is known only
            # now that the columns of the row are set.
            findings=examination.findings(message, whole_content, examined),
            html_text=examined.words[:MAX_TEXT],
            is_unsafe=examined.is_unsafe,
            simplified=min(int(row.get("simplified") or 0), 1000),
        )
        mark = current.short_fingerprint
        message.aliases += [current.fingerprint, mark, mark.replace("-", "")]
        details = details_of_content(whole_content, number=current.number)
        details["key"] = message.sent_by_key_name or message.sent_by_key
        record_about(
            "message.changed" if message.revision else "message.fetched",
            message,
            actor,
            fingerprint=current.fingerprint,
            details=details,
        )
    # After a restore, our gateway holds messages again of which it does not know whether
    # they were sent: the backup may be older than their approval.
    rules = [one.get("rule") for one in current.findings]
    if row.get("fate_unknown") and "restored" not in rules:
        current.findings = [asdict(may_have_left()), *current.findings]
        current.save(update_fields=["findings"])
    message.revision = current
    message.hydrated_at = message.hydrated_at or now
    # By the database's clock, because it is compared with the times at which reads
    # began.
    message.seen_at = Now()
    columns, review = examination.columns_of(
        message, whole_content, examined, current.findings
    )
    for name, value in columns.items():
        setattr(message, name, value)
    message.save()
    examination.store_review(message, review, is_new_version=new_content is not None)
    is_counted = is_first or new_content is not None
    if is_counted and message.is_held and not message.is_inbound:
        examination.count(message, actor)
    if new_content is not None:
        store.expect_parts(message, new_content)
    return current


def _copy_row(message: Message, row: Mapping[str, Any]) -> None:
    """Set the columns of a message that a pending row has besides its content."""
    metadata = row.get("metadata")
    message.trigger = metadata if isinstance(metadata, dict) else message.trigger
    for name in ("sent_by_key", "sent_by_key_name", "thread_id"):
        setattr(message, name, store.fitting(name, row.get(name)))
    message.upstream_status = (
        store.fitting("upstream_status", row.get("status")) or message.upstream_status
    )
    message.sandbox = bool(row.get("sandbox"))
    message.direction = direction_of(
        row.get("direction") or message.direction, row.get("status")
    )
    upstream_id = text_in(row, "mailbox_id")
    mailbox = message.mailbox
    # Mostly the webhook has named the mailbox already.
    if mailbox is None or not mailbox.address or mailbox.upstream_id != upstream_id:
        mailbox = store.find_mailbox(
            message.connection,
            upstream_id=upstream_id,
            address=text_in(row, "mailbox"),
        )
    message.mailbox = mailbox or message.mailbox
    if message.hydrated_at is None and row.get("send_at"):
        # The event that announced it may name the time before it waited for its own. It
        # must not expire or be late before it was held.
        message.held_at = max(store.held_since(row, clock()), message.held_at)


def _put_off(message: Message, error: ParserUnavailable) -> None:
    """Have a message read again later: the longer it has waited, the later, and at
    random, so that messages that were put off together do not come back together.

    This is no fault of the message, so the try does not count.
    """
    age = max((clock() - message.held_at).total_seconds(), SHORTEST_PAUSE)
    pause = min(age, LONGEST_PAUSE) * random.uniform(0.5, 1)
    message.row.update(
        fetch_tries=F("fetch_tries") - 1, read_after=Now() + timedelta(seconds=pause)
    )
    log.warning(
        "message put off",
        extra={"email": message.upstream_id[:200], "reason": str(error)},
    )


def _record_found_again(message: Message) -> None:
    _record_held(
        message,
        FOUND_AGAIN,
        message.sent_by_key_name or message.sent_by_key,
        message.trigger,
    )


def _record_held(
    message: Message, found: str, key: str, trigger: Mapping[str, Any]
) -> None:
    record_about(
        "message.held",
        message,
        webhook(message.connection.slug, surface="worker"),
        fingerprint=message.fingerprint,
        details=details_of(message, key=key, found=found) | trigger_details(trigger),
    )
