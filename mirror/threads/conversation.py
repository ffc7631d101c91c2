"""The conversation that a held draft belongs to: its messages, and which of them came
after the draft was written.

Reads what is stored. `check_read` is the rule, for every surface, that approving
requires having read what came since.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Prefetch

from mirror.errors import ThreadMovedOn
from mirror.models import Message, Thread, ThreadMessage
from mirror.threads.thread_messages import (
    FACTS,
    has_come_or_left,
    message_from_mirror,
    messages_in,
)
from rendering import named

# How many messages of all threads are read at once.
MAX_SIBLINGS = 5000
_WORDS: dict[str, str] = {
    Thread.Problem.NO_KEY: "The thread is not visible with this key.",
    Thread.Problem.REFUSED: "The thread is not visible with this key: MultiMail refuses it.",
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
    stored = list(thread.messages.all()) if thread else []
    siblings = messages_in(message.mailbox_id, message.thread_id)
    return _conversation(message, thread, stored, siblings, with_text=True)


def came_since(messages: Sequence[Message]) -> dict[int, ThreadMessage]:
    """Return, by the keys of drafts that messages of their threads came after, the
    newest of those, without its text.

    In three queries whatever the number of drafts, and from the newest messages of
    their threads.
    """
    drafts = [
        one
        for one in messages
        if one.thread_id and one.mailbox_id and one.direction != "inbound"
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
        thread = threads.get(key)
        stored = list(thread.messages.all()) if thread else []
        whole = _conversation(draft, thread, stored, siblings[key], with_text=False)
        if whole.late:
            found[draft.pk] = whole.late[0]
    return found


def _conversation(
    draft: Message,
    thread: Thread | None,
    stored: Sequence[ThreadMessage],
    siblings: Sequence[Message],
    *,
    with_text: bool,
) -> Conversation:
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
    is_draft = draft.direction != "inbound"
    late = tuple(
        one for one in newest_first if is_draft and one.is_fact and one.at > since
    )
    return Conversation(newest_first, late, thread, has_thread=True)
