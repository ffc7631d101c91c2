"""Reads the thread of a held draft from MultiMail and stores its messages; enqueues
that when one came or left.

It marks nothing as read: a message that the agent has not read is never opened by
itself, because that would remove it from the agent's unread mail.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from audit.models import Entry
from audit.recording import recorded
from common.postgres import clock
from mirror import tasks
from mirror.models import Message, Thread, ThreadMessage
from mirror.recording import record_about
from mirror.states import MessageState
from mirror.store import expect_thread
from mirror.sync import health, reads
from mirror.sync.account import without_refused
from mirror.sync.health import ACTOR
from mirror.threads.conversation import (
    conversation_of,
    has_text,
    message_from_mirror,
    message_from_row,
    messages_in,
    store_messages,
)
from upstream import errors

# An opened thread is read again after this time.
FRESH_FOR = timedelta(seconds=30)
# Longer than one read may take.
LEASE = timedelta(minutes=3)
# How many messages are read one by one where MultiMail's thread leaves out their text.
MAX_OPENED = 5
# Opening one of these changes nothing for the agent.
_READ_BEFORE = ("read", "archived", "sent", "send_failed")
_Problem = Thread.Problem


def freshen_thread(message_id: int) -> str:
    """Read the thread of a message that somebody opened, unless it was just read."""
    message = Message.objects.filter(pk=message_id, state=MessageState.HELD).first()
    thread = expect_thread(message) if message else None
    if thread is None:
        return "no thread"
    # Also one that waits after a failure, but not one that is being read right now.
    stale = (
        Thread.objects.filter(pk=thread.pk)
        .older_than(FRESH_FOR)
        .exclude(wanted=False, not_before__gt=Now())
    )
    stale.update(wanted=True, not_before=Now())
    return read_thread(thread.pk)


def enqueue_freshen(message: Message) -> None:
    """Enqueue a read of the thread of a message on screen, unless it was just read."""
    if message.is_held and message.thread_id:
        tasks.freshen_thread.delay_on_commit(message.pk)


def request_read(came: Message) -> None:
    """Have the thread of a message that came or left read again where a draft waits in
    it.
    """
    mine = Message.objects.in_thread(came.mailbox_id or 0, came.thread_id)
    # By its public id: a message that was inserted in a batch does not know its primary
    # key.
    others = mine.exclude(public_id=came.public_id)
    if not others.filter(state=MessageState.HELD).exists():
        return
    thread = expect_thread(came)
    if thread is not None:
        # A read that is running may have missed the message, so the thread stays wanted
        # until the next read.
        Thread.objects.filter(pk=thread.pk).update(wanted=True)
        tasks.read_thread.delay_on_commit(thread.pk)


def read_thread(thread_id: int) -> str:
    """Read one thread if that is due, and return what came of it."""
    due = Thread.objects.due().filter(pk=thread_id)
    if not due.update(wanted=False, tries=F("tries") + 1, not_before=Now() + LEASE):
        return "not due"
    thread = Thread.objects.select_related("mailbox__connection").get(pk=thread_id)
    began = clock()
    messages = {
        one.upstream_id: message_from_mirror(one)
        for one in messages_in(thread.mailbox_id, thread.upstream_id)
    }
    answer, problem = _ask(thread)
    for row in answer.get("emails", ()):
        message = message_from_row(row)
        if message is None:
            continue
        # As MultiMail has it, with what only the mirror knows of it.
        mirrored = messages.get(message.upstream_id)
        if mirrored is not None and not message.is_read:
            message.text = mirrored.text
            message.is_read = mirrored.is_read
        if mirrored is not None and mirrored.is_fact and not message.is_fact:
            message.is_fact = True
            message.at = mirrored.at
        messages[message.upstream_id] = message
    _store(thread, messages.values())
    mine = Thread.objects.filter(pk=thread.pk, tries=thread.tries)
    if problem:
        pause = health.pause_after(thread.tries, first=10, factor=3)
        mine.update(problem=problem, wanted=True, not_before=Now() + pause)
        return problem
    is_cut = bool(answer.get("truncated"))
    mine.update(problem="", read_at=began, is_cut=is_cut, tries=0, not_before=Now())
    return "read"


def _ask(thread: Thread) -> tuple[dict[str, Any], str]:
    """Return MultiMail's answer, or why there is none."""
    connection = thread.mailbox.connection
    client = reads.read_client(connection)
    if client is None:
        return {}, _Problem.NO_KEY
    try:
        place = {
            "thread_id": thread.upstream_id,
            "mailbox_id": thread.mailbox.upstream_id,
        }
        answer = without_refused(connection, partial(client.read_thread, **place))
        listed = answer.get("emails") or answer.get("messages")
        if not isinstance(listed, list):
            listed = []
        rows = [row for row in listed if isinstance(row, dict)]
        # The newest of them with what they say, where that can be had without opening
        # unread mail.
        stored = thread.messages.filter(is_read=True)
        known = set(stored.values_list("upstream_id", flat=True))
        closed = [
            row
            for row in rows
            if row.get("status") in _READ_BEFORE
            and str(row.get("id")) not in known
            and not has_text(row)
        ]
        for row in closed[-MAX_OPENED:]:
            with suppress(errors.NotFound, errors.Forbidden):
                row |= client.read_email(
                    email_id=str(row["id"]), mailbox_id=place["mailbox_id"]
                )
        return {**answer, "emails": rows}, ""
    except errors.NotFound:
        return {}, _Problem.GONE
    except (errors.KeyRefused, errors.Forbidden):
        return {}, _Problem.REFUSED
    except errors.UpstreamError as error:
        health.note_unread(connection, "thread", error)
        return {}, _Problem.FAILING


@transaction.atomic
def _store(thread: Thread, messages: Iterable[ThreadMessage]) -> None:
    """Store the messages; record once for each held draft that a message came after it."""
    news = {one.pk for one in store_messages(thread, messages)}
    if not news:
        return
    held = Message.objects.in_thread(thread.mailbox_id, thread.upstream_id).filter(
        state=MessageState.HELD
    )
    for message in held.select_related("revision"):
        late = [one for one in conversation_of(message).late if one.pk in news]
        if late:
            record_about(
                "message.answered",
                message,
                ACTOR,
                fingerprint=message.fingerprint,
                details={
                    "from": late[0].sender,
                    "subject": late[0].subject[:300],
                    "at": late[0].at.isoformat(),
                },
            )


_NEWS = ("message.received", "message.released", "message.sent")


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """Have the thread read again after the commit, where a draft waits in it."""
    if not isinstance(about, Message) or not about.thread_id or not about.mailbox_id:
        return
    # Received mail that is held has arrived nevertheless.
    if entry.action in _NEWS or (entry.action == "message.held" and about.is_inbound):
        transaction.on_commit(lambda: request_read(about), robust=True)


def connect() -> None:
    """Receive every entry of the ledger."""
    recorded.connect(on_recorded, dispatch_uid="mirror.threads")
