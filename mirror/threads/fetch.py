"""Reads the thread of a held draft from MultiMail and stores its messages; wakes that read when one came or left.

It marks nothing as read: a message that the agent has not read yet is never opened alone, which would take it from the
agent's unread mail.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from audit.models import Entry
from audit.recording import record, recorded
from common.enqueue import enqueue
from common.postgres import clock
from mirror.models import Message, Thread, ThreadMessage
from mirror.states import MessageState
from mirror.store import expect_thread
from mirror.sync import health, reads
from mirror.sync.reads import ACTOR
from mirror.threads.conversation import conversation_of
from mirror.threads.thread_messages import keep_letters, letter_of_message, letter_of_row, messages_in, says
from upstream import errors

if TYPE_CHECKING:
    from upstream.client import Client

log = logging.getLogger(__name__)

# What somebody opens is read again when it was last read so long ago.
FRESH_FOR = timedelta(seconds=30)
# Above all that one reading may take.
LEASE = timedelta(minutes=3)
# So many letters are opened one by one where MultiMail's thread does not give what they say.
MAX_OPENED = 5
# Opening one of these changes nothing for the agent.
_READ_BEFORE = ("read", "archived", "sent", "send_failed")
_Problem = Thread.Problem


def pause_after(tries: int) -> timedelta:
    """Return how long to wait after so many tries that failed: from ten seconds to an hour."""
    return timedelta(seconds=min(10 * 3 ** min(max(tries - 1, 0), 10), 3600))


def freshen_thread(*, message_id: int) -> str:
    """Somebody opened this message: read its thread if that was not done a moment ago."""
    message = Message.objects.filter(pk=message_id, state=MessageState.HELD).first()
    thread = expect_thread(message) if message else None
    if thread is None:
        return "no thread"
    # One that rests after a failure too, but not one that somebody reads in this moment.
    stale = Thread.objects.filter(pk=thread.pk).older_than(FRESH_FOR).exclude(wanted=False, not_before__gt=Now())
    stale.update(wanted=True, not_before=Now())
    return read_thread(thread_id=thread.pk)


def hear_of_letter(*, message: UUID) -> Thread | None:
    """This message came or left: return its thread, to be read again, if a draft waits in it. Nobody is asked here."""
    came = Message.objects.filter(public_id=message).first()
    if came is None:
        return None
    others = Message.objects.in_thread(came.mailbox_id or 0, came.thread_id).exclude(pk=came.pk)
    thread = expect_thread(came) if others.filter(state=MessageState.HELD).exists() else None
    if thread is not None:
        # Whoever reads it in this moment may have been too early: it stays wanted, and its time comes when they end.
        Thread.objects.filter(pk=thread.pk).update(wanted=True)
    return thread


def read_thread(*, thread_id: int) -> str:
    """Read one thread if that is due, and return what came of it."""
    due = Thread.objects.due().filter(pk=thread_id)
    if not due.update(wanted=False, tries=F("tries") + 1, not_before=Now() + LEASE):
        return "not due"
    thread, began = Thread.objects.select_related("mailbox__connection").get(pk=thread_id), clock()
    letters = {one.upstream_id: letter_of_message(one) for one in messages_in(thread.mailbox_id, thread.upstream_id)}
    try:
        told, problem = _ask(thread), ""
    except _NotTold as error:
        told, problem = {}, error.problem
    for row in told.get("emails") or []:
        letter = letter_of_row(row) if isinstance(row, dict) else None
        if letter is not None:
            letters[letter.upstream_id] = _both(letter, letters.get(letter.upstream_id))
    _keep(thread, list(letters.values()))
    return _end(thread, problem, began=began, is_cut=bool(told.get("truncated")))


class _NotTold(Exception):
    """The thread could not be read; `problem` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def _ask(thread: Thread) -> dict[str, Any]:
    connection = thread.mailbox.connection
    reader = reads.reader(connection)
    if reader is None:
        raise _NotTold(_Problem.NO_KEY)
    try:
        told = reader.read_thread(thread_id=thread.upstream_id, mailbox_id=thread.mailbox.upstream_id)
        return {**told, "emails": _opened(thread, reader, _rows_in(told))}
    except errors.NotFound:
        raise _NotTold(_Problem.GONE) from None
    except (errors.KeyRefused, errors.Forbidden):
        raise _NotTold(_Problem.REFUSED) from None
    except errors.UpstreamError as error:
        if isinstance(error, errors.Throttled):
            health.wait(connection, error.retry_after)
        log.warning("thread not read", extra={"connection": connection.slug, "reason": error.sentence})
        raise _NotTold(_Problem.FAILING) from None


def _rows_in(told: dict[str, Any]) -> list[dict[str, Any]]:
    rows = told.get("emails") or told.get("messages")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _opened(thread: Thread, reader: "Client", rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows, the newest of them with what they say where that can be had without opening unread mail."""
    known = set(thread.letters.filter(is_read=True).values_list("upstream_id", flat=True))
    closed = [
        row for row in rows if row.get("status") in _READ_BEFORE and str(row.get("id")) not in known and not says(row)
    ]
    for row in closed[-MAX_OPENED:]:
        try:
            row |= reader.read_email(email_id=str(row["id"]), mailbox_id=thread.mailbox.upstream_id)
        except (errors.NotFound, errors.Forbidden):
            continue
    return rows


def _both(told: ThreadMessage, mirrored: ThreadMessage | None) -> ThreadMessage:
    """Return the letter as MultiMail tells it, with what the mirror knows more of it."""
    if mirrored is None:
        return told
    if not told.is_read:
        told.text, told.is_read = mirrored.text, mirrored.is_read
    if mirrored.is_fact and not told.is_fact:
        told.is_fact, told.at = True, mirrored.at
    return told


@transaction.atomic
def _keep(thread: Thread, letters: list[ThreadMessage]) -> None:
    """Store the letters, and say so once of each held draft that one of them came after."""
    news = {letter.pk for letter in keep_letters(thread, letters)}
    if not news:
        return
    held = Message.objects.in_thread(thread.mailbox_id, thread.upstream_id).filter(state=MessageState.HELD)
    for message in held.select_related("revision"):
        late = [letter for letter in conversation_of(message).late if letter.pk in news]
        if late:
            record(
                "message.answered",
                actor=ACTOR,
                connection=message.connection_id,
                message=message.public_id,
                fingerprint=message.revision.fingerprint if message.revision else "",
                details={"from": late[0].sender, "subject": late[0].subject[:300], "at": late[0].at.isoformat()},
                words=message.ledger_words(),
            )


def _end(thread: Thread, problem: str, *, began: datetime, is_cut: bool) -> str:
    mine = Thread.objects.filter(pk=thread.pk, tries=thread.tries)
    if problem:
        mine.update(problem=problem, wanted=True, not_before=Now() + pause_after(thread.tries))
    else:
        mine.update(problem="", read_at=began, is_cut=is_cut, tries=0, not_before=Now())
    return problem or "read"


_NEWS = ("message.received", "message.released", "message.sent")


def on_recorded(entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any) -> None:
    """Tell a worker, once it is committed; whether any draft waits in that thread is asked there."""
    if not isinstance(about, Message) or not about.thread_id or about.mailbox_id is None:
        return
    # Received mail that waits for its own approval has come all the same.
    if entry.action in _NEWS or (entry.action == "message.held" and about.direction == "inbound"):
        # By its public id: of one that has just begun, the row's key is not known here yet.
        enqueue("approvals.tasks.hear_of_letter", str(about.public_id))


def connect() -> None:
    """Listen to the ledger."""
    recorded.connect(on_recorded, dispatch_uid="mirror.threads")
