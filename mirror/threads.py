"""The conversation that a held draft belongs to: its messages as MultiMail's rows and
the mirror tell them, which of them came after the draft was written, and how MultiMail
is read. `check_read` is the rule, for every surface, that approving requires having
read what came since.

A read marks nothing as read: a message that the agent has not read is never opened by
itself, because that would remove it from the agent's unread mail.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F, Prefetch
from django.db.models.functions import Now

from audit.models import Entry
from audit.recording import recorded
from common.postgres import clock
from mirror import tasks
from mirror.errors import ThreadMovedOn
from mirror.models import Message, Thread, ThreadMessage
from mirror.recording import record_about
from mirror.states import MessageState
from mirror.store import (
    content_of,
    expect_thread,
    fitting,
    rendered_content,
    stored_content,
)
from mirror.sync import health, reads
from mirror.sync.account import without_refused
from rendering import RenderedMessage, named, render_message
from upstream import errors
from upstream.events import read_time

# How many messages of all threads are read at once.
MAX_SIBLINGS = 5000
_WORDS: dict[str, str] = {
    Thread.Problem.REFUSED: "The thread is not visible with this key.",
    Thread.Problem.GONE: "MultiMail does not know this thread (404).",
    Thread.Problem.FAILING: "The thread could not be read. The desk tries again.",
}


@dataclass(frozen=True)
class Conversation:
    """What the desk knows of a thread: its messages, newest first, without the draft;
    `late` came after the draft.

    `late_id` says that all of those were read; 0 where there is none, or one is too new
    to have a key.
    """

    messages: tuple[ThreadMessage, ...] = ()
    late: tuple[ThreadMessage, ...] = ()
    thread: Thread | None = None
    has_thread: bool = False

    @property
    def late_id(self) -> int:
        return max((message.pk for message in self.late if message.pk), default=0)

    @property
    def is_catching_up(self) -> bool:
        """Whether a message came just now, so that nobody can have read it yet."""
        return any(message.pk is None for message in self.late)

    @property
    def part(self) -> str:
        """The key of the thread's current version, for `OpenedPart`."""
        newest = max((message.pk or 0 for message in self.messages), default=0)
        return f"thread:{newest}"

    @property
    def earlier(self) -> int:
        """How many messages did not come after the draft."""
        return len(self.messages) - len(self.late)

    @property
    def is_being_read(self) -> bool:
        """Whether its first read has not ended yet."""
        if self.thread is None:
            return self.has_thread
        return self.thread.read_at is None and not self.thread.problem

    @property
    def words(self) -> str:
        """Why the thread is incomplete here, as a sentence; empty where it is complete."""
        if self.thread is None:
            return ""
        if not self.thread.problem:
            is_cut = self.thread.is_cut
            return "Only its newest messages are shown here." if is_cut else ""
        words = _WORDS[self.thread.problem]
        if self.messages:
            words += " Only messages that this desk knows are shown here."
        return words

    def check_read(self, *, upto: int) -> None:
        """Raise ThreadMovedOn where a message came after the draft that is newer than
        the one of this key.
        """
        if self.is_catching_up:
            raise ThreadMovedOn(
                "A new message has just arrived in this thread. Read it when it appears here."
            )
        unread = [message for message in self.late if message.pk > upto]
        if not unread:
            return
        newest = unread[0]
        who = named(newest.sender) or "Somebody"
        wrote = "wrote" if newest.direction == "inbound" else "sent a message"
        others = f", and {len(unread) - 1} more came" if len(unread) > 1 else ""
        raise ThreadMovedOn(
            f"{who} {wrote} in this thread on {newest.at:%-d %b at %H:%M} UTC, after this draft{others}. "
            "Read it, tick the box, then approve."
        )


def conversation_of(message: Message) -> Conversation:
    """Return the thread as the desk knows it, in three queries; none for a message
    without a thread.

    Messages of the desk's mirror that no read of the thread has brought yet are among
    its messages, unsaved.
    """
    if not message.thread_id or message.mailbox_id is None:
        return Conversation()
    thread = Thread.objects.of_message(message).first()
    siblings = messages_in(message.mailbox_id, message.thread_id)
    return _conversation(message, thread, siblings, with_text=True)


def came_since(messages: Sequence[Message]) -> dict[int, ThreadMessage]:
    """Return, by the keys of drafts that messages of their threads came after, the
    newest of those, without its text.

    In three queries whatever the number of drafts, and from the newest messages of
    their threads.
    """
    drafts = [
        one
        for one in messages
        if one.thread_id and one.mailbox_id and not one.is_inbound
    ]
    if not drafts:
        return {}
    prefetch = Prefetch("messages", queryset=ThreadMessage.objects.defer("text"))
    threads: dict[tuple[int | None, str], Thread] = {
        (one.mailbox_id, one.upstream_id): one
        for one in Thread.objects.of_messages(drafts).prefetch_related(prefetch)
    }
    came = Message.objects.in_threads_of(drafts).come_or_left(FACTS)
    siblings = defaultdict[tuple[int | None, str], list[Message]](list)
    for one in came.order_by("-held_at")[:MAX_SIBLINGS]:
        siblings[one.mailbox_id, one.thread_id].append(one)
    found = {}
    for draft in drafts:
        key = (draft.mailbox_id, draft.thread_id)
        whole = _conversation(draft, threads.get(key), siblings[key], with_text=False)
        if whole.late:
            found[draft.pk] = whole.late[0]
    return found


def _conversation(
    draft: Message,
    thread: Thread | None,
    siblings: Sequence[Message],
    *,
    with_text: bool,
) -> Conversation:
    stored = thread.messages.all() if thread else ()
    messages = {one.upstream_id: one for one in stored}
    own = messages.pop(draft.upstream_id, None)
    for sibling in siblings:
        known = messages.get(sibling.upstream_id)
        if sibling.pk == draft.pk:
            continue
        # By a webhook the mirror may know more than the last read of the thread.
        if known is None or (has_come_or_left(sibling) and not known.is_fact):
            messages[sibling.upstream_id] = message_from_mirror(
                sibling, with_text=with_text
            )
    newest_first = tuple(
        sorted(messages.values(), key=lambda one: (one.at, one.pk or 0), reverse=True)
    )
    # When it was written: by the thread, but no later than when it was held.
    since = min(draft.held_at, own.at) if own else draft.held_at
    late: tuple[ThreadMessage, ...] = ()
    if not draft.is_inbound:
        late = tuple(one for one in newest_first if one.is_fact and one.at > since)
    return Conversation(newest_first, late, thread, has_thread=True)


# States of our messages that came or left. Others are waiting or were never sent.
FACTS = (
    MessageState.RECEIVED,
    MessageState.RELEASED,
    MessageState.APPROVED,
    MessageState.SCHEDULED_APPROVED,
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
)
# The same by MultiMail's statuses. Received mail that is held has arrived nevertheless.
_LEFT = ("sent", "delivered", "bounced")
_NOT_RECEIVED = ("rejected", "cancelled", "deleted", "spam_quarantined", "pending_scan")
_BODIES = ("markdown", "body_markdown", "text_body", "body", "text", "html_body")
_COLUMNS = (
    "direction",
    "status",
    "sender",
    "sender_name",
    "recipients",
    "subject",
    "has_files",
    "at",
    "is_fact",
    "text",
    "is_read",
)
# Longer texts are cut beside a draft; how much is left out is said at the end.
MAX_TEXT = 20_000
MAX_MESSAGES = 100


def message_from_row(row: Mapping[str, Any]) -> ThreadMessage | None:
    """Return the thread's message from a row of MultiMail; None for a row without an id
    or a time.
    """
    written = read_time(
        row.get("received_at") or row.get("created_at") or row.get("timestamp")
    )
    if not row.get("id") or written is None:
        return None
    content = content_of(row)
    status = str(row.get("status") or "")
    direction = "inbound" if row.get("direction") == "inbound" else "outbound"
    is_fact = (
        status in _LEFT if direction == "outbound" else status not in _NOT_RECEIVED
    )
    is_known = has_text(row)
    return ThreadMessage(
        upstream_id=fitting("upstream_id", row["id"], ThreadMessage),
        direction=direction,
        status=fitting("status", status, ThreadMessage),
        sender=fitting("sender", content.sender, ThreadMessage),
        sender_name=fitting("sender_name", content.sender_name, ThreadMessage),
        recipients=[*content.to, *content.cc][:100],
        subject=content.subject[:2000],
        text=_shown_text(render_message(content)) if is_known else "",
        is_read=is_known,
        has_files=bool(row.get("has_attachments") or row.get("attachments")),
        at=(is_fact and direction == "outbound" and read_time(row.get("sent_at")))
        or written,
        is_fact=is_fact,
    )


def has_text(row: Mapping[str, Any]) -> bool:
    """Whether a row has the message's text."""
    return any(row.get(name) is not None for name in _BODIES)


def has_come_or_left(message: Message) -> bool:
    """Whether a message of the mirror came or left; received mail that is held has
    arrived nevertheless.
    """
    return message.state in FACTS or (message.is_inbound and message.is_held)


def message_from_mirror(message: Message, *, with_text: bool = True) -> ThreadMessage:
    """Return the thread's message from a message of the mirror; without its text where
    that is not needed.
    """
    content = None
    text = ""
    if with_text and message.revision:
        content = stored_content(message.revision)
        text = _shown_text(rendered_content(message.revision, content))
    is_fact = has_come_or_left(message)
    # When it left is known only if nothing was reported of it since.
    has_just_left = not message.is_inbound and message.state in (
        MessageState.APPROVED,
        MessageState.SENT,
    )
    return ThreadMessage(
        upstream_id=message.upstream_id,
        direction=message.direction,
        status=fitting("status", message.state, ThreadMessage),
        sender=message.sender or (content.sender if content else ""),
        sender_name=fitting(
            "sender_name", content.sender_name if content else "", ThreadMessage
        ),
        recipients=list(message.recipients)[:100],
        subject=message.subject[:2000],
        text=text,
        is_read=content is not None,
        has_files=bool(content and content.attachments),
        at=message.changed_at if has_just_left else message.held_at,
        is_fact=is_fact,
    )


def messages_in(mailbox: int, thread_id: str) -> list[Message]:
    """Return the mirror's messages of one thread, the newest of them."""
    return list(
        Message.objects.in_thread(mailbox, thread_id)
        .select_related("revision")
        .order_by("-held_at")[:MAX_MESSAGES]
    )


def _shown_text(rendered: RenderedMessage) -> str:
    """Return what a message says as plain text, with everything hidden or invisible in
    it named.
    """
    text = rendered.text.strip()
    more = len(text) - MAX_TEXT
    if more <= 0:
        return text
    return f"{text[:MAX_TEXT]}\n… {more} more characters are left out here."


@transaction.atomic
def store_messages(
    thread: Thread, messages: Iterable[ThreadMessage]
) -> list[ThreadMessage]:
    """Store messages of a thread, and return those that came or left since the last
    time.

    A waiting one that has come or left since is stored again: keys grow in the order in
    which that happened, and a reviewer confirms having read up to a key.
    """
    Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)
    known = {message.upstream_id: message for message in thread.messages.all()}
    news = []
    for message in messages:
        message.thread, old = thread, known.get(message.upstream_id)
        if old is not None and not message.is_read:
            message.text = old.text
            message.is_read = old.is_read
        if old is not None and (old.is_fact or not message.is_fact):
            # A message that came or left stays so, even if an outdated source says
            # otherwise.
            message.is_fact = old.is_fact
            values = {name: getattr(message, name) for name in _COLUMNS}
            if any(getattr(old, name) != value for name, value in values.items()):
                ThreadMessage.objects.filter(pk=old.pk).update(**values)
            continue
        if old is not None:
            old.delete()
        message.save(force_insert=True)
        known[message.upstream_id] = message
        news += [message] if message.is_fact else []
    return news


# --- Reading it at MultiMail ----------------------------------------------------------


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
        return {}, _Problem.REFUSED
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
                health.ACTOR,
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
