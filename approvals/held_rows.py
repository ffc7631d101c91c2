"""Stores one row of MultiMail's list of held messages in the mirror, with its content.

A row that kills the process must not do so again and again. So each try is counted in a
transaction of its own before the row is stored, and after a few tries the message is
given up and shown as unreadable. The parser reads the content between the two, outside
of any transaction.
"""

import logging
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import DataError, transaction
from django.db.models import F
from django.db.models.functions import Now

from common.actors import webhook
from common.logs import trace_id
from common.postgres import clock
from mirror import store
from mirror.models import Connection, Message
from mirror.recording import details_of, record_about, trigger_details
from mirror.states import FETCH_TRIES, MessageEvent, MessageState
from mirror.sync.health import ACTOR
from parsing.client import ParserUnavailable, from_source
from risk.examined import Examined

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
_OPEN = (MessageState.HELD, MessageState.SCHEDULED, MessageState.GONE)
# The messages that threads of this process are storing now, so that several threads
# with the same message count only one try. The value says which thread it is.
_in_progress: dict[tuple[int, str], object] = {}


def mirror_row(
    connection: Connection,
    row: Mapping[str, Any],
    now: datetime,
    examiner: store.Examiner,
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
            _store(message, row, examined, now, examiner)
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
            subject=str(row.get("subject") or "")[:998],
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
    elif message.state not in _OPEN or message.connection.removed_at:
        return None
    elif message.fetch_tries > FETCH_TRIES:
        if store.move(message, event=MessageEvent.FOUND, now=now):
            # MultiMail holds it again, so it must be shown as held, although its
            # content is unreadable.
            _record_found_again(message)
        return None
    Message.objects.filter(pk=message.pk).update(fetch_tries=F("fetch_tries") + 1)
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
    examiner: store.Examiner,
) -> None:
    # Stores the content of a counted try, and resets the count of tries.
    locked = store.lock_current(message)
    if locked is None or locked.state not in _OPEN or locked.connection.removed_at:
        return
    was_gone = locked.state == MessageState.GONE
    if was_gone:
        store.move(locked, event=MessageEvent.FOUND, now=now)
    locked.fetch_tries = 0
    locked.read_after = None
    locked.missing_since = None
    store.store_revision(
        locked, row=row, examined=examined, actor=ACTOR, now=now, examiner=examiner
    )
    if was_gone:
        _record_found_again(locked)


def _put_off(message: Message, error: ParserUnavailable) -> None:
    """Have a message read again later: the longer it has waited, the later, and at
    random, so that messages that were put off together do not come back together.

    This is no fault of the message, so the try does not count.
    """
    age = max((clock() - message.held_at).total_seconds(), SHORTEST_PAUSE)
    pause = min(age, LONGEST_PAUSE) * random.uniform(0.5, 1)
    Message.objects.filter(pk=message.pk).update(
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
