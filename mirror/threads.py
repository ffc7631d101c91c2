"""The thread (conversation) that a held message belongs to: reads it from MultiMail,
combines it with what the mirror knows, and says which messages came after the held one
was written. In this file the held message is called the draft.

`Conversation.check_read` is the rule that nobody can approve a draft without having
read the messages that came after it; the pages and Discord both use it.

A read of a thread marks nothing as read at MultiMail. A message that the agent has not
read is never opened, because this would remove it from the agent's unread mail.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F, Prefetch
from django.db.models.functions import Now

from audit.models import Entry
from audit.recording import recorded
from common.fingerprint import Content
from common.postgres import clock
from common.time_zones import day_and_time
from common.unique_keys import Json, text_in
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
from parsing.client import from_source
from rendering import RenderedMessage, named, render_message
from upstream import errors
from upstream.events import read_time

# How many messages are read at most for the threads of several drafts.
MAX_SIBLINGS = 5000
# Why a thread is incomplete, by its problem.
_WORDS = {
    "refused": "The thread is not visible with this key.",
    "gone": "MultiMail does not know this thread (404).",
    "failing": "The thread could not be read whole. The desk tries again.",
}


@dataclass(frozen=True)
class Conversation:
    """What the desk knows of the thread of a draft."""

    # Its messages without the draft, newest first.
    messages: tuple[ThreadMessage, ...] = ()
    # Those that were received or sent after the draft was written, newest first.
    late: tuple[ThreadMessage, ...] = ()
    # None while the thread is not known yet, or if there is none.
    thread: Thread | None = None
    has_thread: bool = False

    @property
    def late_id(self) -> int:
        # The newest key among the late messages, by which a person confirms having read
        # them; 0 if there are none, or only ones too new to have a key.
        return max((message.pk for message in self.late if message.pk), default=0)

    @property
    def is_catching_up(self) -> bool:
        """Whether a message came so recently that nobody can have read it here."""
        return any(not message.pk for message in self.late)

    @property
    def part(self) -> str:
        """The name of the thread as it is now, by which `OpenedPart` stores that
        somebody opened it.
        """
        newest = max((message.pk or 0 for message in self.messages), default=0)
        return f"thread:{newest}"

    @property
    def earlier(self) -> int:
        """How many messages came before the draft, or were never received or sent."""
        return len(self.messages) - len(self.late)

    @property
    def is_being_read(self) -> bool:
        """Whether the first read of the thread has not ended yet."""
        if not self.thread:
            return self.has_thread
        return not (self.thread.read_at or self.thread.problem)

    @property
    def words(self) -> str:
        """Why the thread is incomplete here, as a sentence; empty if it is complete."""
        if not self.thread:
            return ""
        if not self.thread.problem:
            is_cut = self.thread.is_cut
            return "Only its newest messages are shown here." if is_cut else ""
        words = _WORDS[self.thread.problem]
        if self.messages:
            words += " What this desk knows of it is shown here."
        return words

    def check_read(self, *, upto: int) -> None:
        """Raise ThreadMovedOn if a late message is newer than the one with the key
        `upto`, up to which the person said to have read.
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
            f"{who} {wrote} in this thread on {day_and_time(newest.at)}, after this draft{others}. "
            "Read it, tick the box, then approve."
        )


def conversation_of(message: Message) -> Conversation:
    """Return the thread of a draft as the desk knows it, in three queries; an empty
    conversation if the draft has no thread.

    Messages of the mirror that no read of the thread has returned yet are included as
    unsaved rows.
    """
    if not message.thread_id or not message.mailbox_id:
        return Conversation()
    thread = Thread.objects.of_message(message).first()
    siblings = messages_in(message.mailbox_id, message.thread_id)
    return _conversation(message, thread, siblings, with_text=True)


def came_since(messages: Sequence[Message]) -> dict[int, ThreadMessage]:
    """Return, by a draft's key, the newest message that came after it in its thread,
    without its text. Drafts after which no message came are left out.

    It takes three queries, whatever the number of drafts.
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
    siblings_came = Message.objects.in_threads_of(drafts).come_or_left(FACTS)
    siblings = defaultdict[tuple[int | None, str], list[Message]](list)
    for one in siblings_came.order_by("-held_at")[:MAX_SIBLINGS]:
        siblings[one.mailbox_id, one.thread_id].append(one)
    newest_late = {}
    for draft in drafts:
        key = (draft.mailbox_id, draft.thread_id)
        conversation = _conversation(
            draft, threads.get(key), siblings[key], with_text=False
        )
        if conversation.late:
            newest_late[draft.pk] = conversation.late[0]
    return newest_late


def _conversation(
    draft: Message,
    thread: Thread | None,
    siblings: Sequence[Message],
    *,
    with_text: bool,
) -> Conversation:
    # Combines the stored messages of the thread with those of the mirror (`siblings`).
    rows = thread.messages.all() if thread else ()
    messages = {one.upstream_id: one for one in rows}
    draft_in_thread = messages.pop(draft.upstream_id, None)
    for sibling in siblings:
        listed = messages.get(sibling.upstream_id)
        if sibling.pk == draft.pk:
            continue
        # A webhook may have told the mirror more than the last read of the thread did.
        if not listed or (has_come_or_left(sibling) and not listed.is_fact):
            messages[sibling.upstream_id] = message_from_mirror(
                sibling, with_text=with_text
            )
    newest_first = tuple(
        sorted(messages.values(), key=lambda one: (one.at, one.pk or 0), reverse=True)
    )
    # When the draft was written, by its row in the thread; but no later than it was
    # held.
    since = min(draft.held_at, draft_in_thread.at) if draft_in_thread else draft.held_at
    late: tuple[ThreadMessage, ...] = ()
    if not draft.is_inbound:
        late = tuple(one for one in newest_first if one.is_fact and one.at > since)
    return Conversation(newest_first, late, thread, has_thread=True)


# States of messages that were received or sent. Others wait, or were never sent.
FACTS = """
received released approved scheduled_approved sent delivered bounced complained
""".split()
# The same by MultiMail's statuses: those of sent messages; and those in which a message
# did not reach the mailbox. A received message that is held did reach it.
_LEFT = ("sent", "delivered", "bounced")
_NOT_RECEIVED = "rejected cancelled deleted spam_quarantined pending_scan".split()
_COLUMNS = """
direction status sender sender_name recipients subject has_files at is_fact text is_read
""".split()
# In characters: a longer text is cut, and says at its end how much is left out.
MAX_TEXT = 20_000
# How many messages of the mirror belong to one conversation at most.
MAX_MESSAGES = 100


def message_from_row(row: Json) -> ThreadMessage | None:
    """Return a message of a thread, unsaved, from MultiMail's row; None if the row has
    no id or no time.
    """
    written = read_time(
        row.get("received_at") or row.get("created_at") or row.get("timestamp")
    )
    if not row.get("id") or not written:
        return None
    content = content_of(row)
    status = text_in(row, "status")
    direction = "inbound" if row.get("direction") == "inbound" else "outbound"
    is_fact = (
        status in _LEFT if direction == "outbound" else status not in _NOT_RECEIVED
    )
    is_read = has_text(content)
    return ThreadMessage(
        upstream_id=fitting("upstream_id", row["id"], ThreadMessage),
        direction=direction,
        status=fitting("status", status, ThreadMessage),
        sender=fitting("sender", content.sender, ThreadMessage),
        sender_name=fitting("sender_name", content.sender_name, ThreadMessage),
        recipients=[*content.to, *content.cc][:100],
        subject=content.subject[:2000],
        text=_shown_text(render_message(content)) if is_read else "",
        is_read=is_read,
        has_files=bool(row.get("has_attachments") or row.get("attachments")),
        at=(is_fact and direction == "outbound" and read_time(row.get("sent_at")))
        or written,
        is_fact=is_fact,
    )


def has_text(content: Content) -> bool:
    """Whether the row of MultiMail that has this content contains its text."""
    return content.markdown is not None or content.html is not None


def has_come_or_left(message: Message) -> bool:
    """Whether a message of the mirror was received or sent. A received message that is
    held has arrived too.
    """
    return message.state in FACTS or (message.is_inbound and message.is_held)


def message_from_mirror(message: Message, *, with_text: bool = True) -> ThreadMessage:
    """Return a message of a thread, unsaved, from a message of the mirror."""
    content = None
    text = ""
    if with_text and message.revision:
        content = stored_content(message.revision)
        text = _shown_text(rendered_content(message.revision, content))
    # `changed_at` is the time of sending only if nothing was reported about it since.
    has_just_left = not message.is_inbound and message.state in (
        MessageState.APPROVED,
        MessageState.SENT,
        # Our gateway reports both at once, unless its mail server reports deliveries.
        MessageState.DELIVERED,
    )
    return ThreadMessage(
        upstream_id=message.upstream_id,
        direction=message.direction,
        status=fitting("status", message.state, ThreadMessage),
        sender=message.sender or (content.sender if content else ""),
        sender_name=fitting(
            "sender_name", content.sender_name if content else "", ThreadMessage
        ),
        recipients=message.recipients[:100],
        subject=message.subject[:2000],
        text=text,
        is_read=content is not None,
        has_files=bool(content and content.attachments),
        at=message.changed_at if has_just_left else message.held_at,
        is_fact=has_come_or_left(message),
    )


def messages_in(mailbox: int, thread_id: str) -> list[Message]:
    """Return the newest messages of the mirror that belong to one thread."""
    return list(
        Message.objects.in_thread(mailbox, thread_id)
        .select_related("revision")
        .order_by("-held_at")[:MAX_MESSAGES]
    )


def _shown_text(rendered: RenderedMessage) -> str:
    """Return the text of a message, in which hidden and invisible parts are named; cut
    if it is too long.
    """
    text = rendered.text.strip()
    more = len(text) - MAX_TEXT
    if more <= 0:
        return text
    return f"{text[:MAX_TEXT]}\n… {more} more characters are left out here."


# --- Reading it at MultiMail ----------------------------------------------------------


# If the last read is older than this, opening a message reads its thread again.
FRESH_FOR = timedelta(seconds=30)
# For how long no other worker reads a thread; longer than one read may take.
LEASE = timedelta(minutes=3)
# How many messages are read one by one, if MultiMail's answer leaves out their texts.
MAX_OPENED = 5
# Statuses of messages that can be read without changing anything for the agent.
_READ_BEFORE = ("read", "archived", "sent", "send_failed")
_Problem = Thread.Problem


def freshen_thread(message_id: int) -> str:
    """Read the thread of a message that somebody opened, unless it was just read."""
    message = Message.objects.held().filter(pk=message_id).first()
    thread = expect_thread(message) if message else None
    if not thread:
        return "no thread"
    # A thread that waits after a failure is read too, but not one that is being read
    # now.
    stale = (
        Thread.objects.filter(pk=thread.pk)
        .older_than(FRESH_FOR)
        .exclude(wanted=False, not_before__gt=Now())
    )
    stale.update(wanted=True, not_before=Now())
    return read_thread(thread.pk)


def enqueue_freshen(message: Message) -> None:
    """Enqueue `freshen_thread` for a message that somebody opened."""
    if message.is_held and message.thread_id:
        tasks.freshen_thread.delay_on_commit(message.pk)


def request_read(came: Message) -> None:
    """Have the thread of a message that was received or sent read again, if a draft in
    it is held.
    """
    in_thread = Message.objects.in_thread(came.mailbox_id or 0, came.thread_id)
    # Compared by public id, because a message that was inserted in bulk may have no
    # primary key in memory.
    other_messages = in_thread.exclude(public_id=came.public_id)
    if not other_messages.held().exists():
        return
    thread = expect_thread(came)
    if thread:
        # A read that is running may miss the message, so the thread is marked to be
        # read once more.
        Thread.objects.filter(pk=thread.pk).update(wanted=True)
        tasks.read_thread.delay_on_commit(thread.pk)


def read_thread(thread_id: int) -> str:
    """Read one thread if it is due, and store its messages. Return a word for the log:
    "read", "not due" or a problem.
    """
    due = Thread.objects.due().filter(pk=thread_id)
    if not due.update(wanted=False, tries=F("tries") + 1, not_before=Now() + LEASE):
        return "not due"
    thread = Thread.objects.select_related("mailbox__connection").get(pk=thread_id)
    this_try = Thread.objects.filter(pk=thread_id, tries=thread.tries)
    try:
        began = clock()
        messages = {
            one.upstream_id: message_from_mirror(one)
            for one in messages_in(thread.mailbox_id, thread.upstream_id)
        }
        answer, problem = _ask(thread)
        for row in answer.get("emails", ()):
            with from_source(f"mailbox {thread.mailbox_id}", f"thread {thread.pk}"):
                message = message_from_row(row)
            if not message:
                continue
            # MultiMail's row counts, completed by what only the mirror knows.
            mirrored = messages.get(message.upstream_id)
            if mirrored and not message.is_read:
                message.text = mirrored.text
                message.is_read = mirrored.is_read
            if mirrored and mirrored.is_fact:
                if not message.is_fact:
                    message.at = mirrored.at
                elif message.direction == "outbound" and not row.get("sent_at"):
                    # Hosted MultiMail says only when it was written.
                    message.at = max(message.at, mirrored.at)
                message.is_fact = True
            messages[message.upstream_id] = message
        _store(thread, messages.values())
        if problem:
            pause = health.pause_after(thread.tries, first=10, factor=3)
            this_try.update(problem=problem, wanted=True, not_before=Now() + pause)
            return problem
        this_try.update(
            problem="",
            read_at=began,
            is_cut=bool(answer.get("truncated")),
            tries=0,
            not_before=Now(),
        )
        return "read"
    except Exception:
        # The sweep tries again when the lease is over.
        this_try.update(wanted=True)
        raise


def _ask(thread: Thread) -> tuple[Json, str]:
    """Return MultiMail's answer about a thread, with its messages under "emails", and
    an empty text; or what could be read, and a problem.
    """
    connection = thread.mailbox.connection
    client = reads.read_client(connection)
    if not client:
        return {}, _Problem.REFUSED
    try:
        ids = {
            "thread_id": thread.upstream_id,
            "mailbox_id": thread.mailbox.upstream_id,
        }
        answer = without_refused(connection, partial(client.read_thread, **ids))
        answer_rows = answer.get("emails") or answer.get("messages")
        if not isinstance(answer_rows, list):
            answer_rows = []
        rows = [row for row in answer_rows if isinstance(row, dict)]
        # The texts of the newest messages are read one by one, if this does not mark
        # anything as read.
        with_text = thread.messages.filter(is_read=True)
        stored_ids = set(with_text.values_list("upstream_id", flat=True))
        without_text = [
            row
            for row in rows
            if row.get("status") in _READ_BEFORE
            and str(row.get("id")) not in stored_ids
            and not has_text(content_of(row))
        ]
        problem = ""
        for row in without_text[-MAX_OPENED:]:
            # Without the text of one message, the others count.
            try:
                row |= client.read_email(
                    email_id=str(row["id"]), mailbox_id=ids["mailbox_id"]
                )
            except (
                errors.NotFound,
                errors.Forbidden,
                errors.Rejected,
                errors.TooLarge,
            ):
                continue
            except errors.OutcomeUnknown as error:
                health.note_unread(connection, "thread", error)
                problem = _Problem.FAILING
        return {**answer, "emails": rows}, problem
    except errors.NotFound:
        return {}, _Problem.GONE
    except (errors.KeyRefused, errors.Forbidden):
        return {}, _Problem.REFUSED
    except errors.UpstreamError as error:
        health.note_unread(connection, "thread", error)
        return {}, _Problem.FAILING


@transaction.atomic
def _store(thread: Thread, messages: Iterable[ThreadMessage]) -> None:
    """Store the messages of a thread. If some are news (they were received or sent since
    they were last stored), record this at each held draft in the thread that was written
    before them.

    A waiting message that was sent since gets a new row. So the keys grow in the order
    in which messages arrived or were sent, and a reviewer can confirm having read up to
    a key.
    """
    Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)
    stored = {message.upstream_id: message for message in thread.messages.all()}
    news = set()
    for message in messages:
        message.thread = thread
        old = stored.get(message.upstream_id)
        if old and not message.is_read:
            message.text = old.text
            message.is_read = old.is_read
        if old and (old.is_fact or not message.is_fact):
            # A message that was received or sent stays so, even if an older source does
            # not know it yet.
            message.is_fact = old.is_fact
            if old.is_fact:
                # That it was delivered does not say again when it was sent.
                is_report = message.status == MessageState.DELIVERED
                if is_report and old.status != MessageState.SCHEDULED_APPROVED:
                    message.at = old.at
                message.at = max(message.at, old.at)
            values = {name: getattr(message, name) for name in _COLUMNS}
            if any(getattr(old, name) != value for name, value in values.items()):
                ThreadMessage.objects.filter(pk=old.pk).update(**values)
            continue
        if old:
            old.delete()
        message.save(force_insert=True)
        stored[message.upstream_id] = message
        if message.is_fact:
            news.add(message.pk)
    if not news:
        return
    in_thread = Message.objects.in_thread(thread.mailbox_id, thread.upstream_id)
    for draft in in_thread.held().select_related("revision"):
        late_news = [one for one in conversation_of(draft).late if one.pk in news]
        if late_news:
            record_about(
                "message.answered",
                draft,
                health.ACTOR,
                fingerprint=draft.fingerprint,
                details={
                    "from": late_news[0].sender,
                    "subject": late_news[0].subject[:300],
                    "at": late_news[0].at.isoformat(),
                },
            )


# Actions that mean that a message was received or sent.
_NEWS = ("message.received", "message.released", "message.sent")


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """Listen to the ledger: after a message was received or sent, have its thread read
    again, if a draft in it is held.
    """
    if not isinstance(about, Message) or not about.thread_id or not about.mailbox_id:
        return
    # A received message that is held has arrived too.
    if entry.action in _NEWS or (entry.action == "message.held" and about.is_inbound):
        transaction.on_commit(lambda: request_read(about), robust=True)


def connect() -> None:
    """Connect the listener to the ledger; called when Django starts."""
    recorded.connect(on_recorded, dispatch_uid="mirror.threads")
