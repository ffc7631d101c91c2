"""The conversation that a held draft belongs to: its letters, and which of them came after the draft was written.

Reads what is stored. That an approval needs what came since to be ticked is said here once, for every surface.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Prefetch

from mirror.errors import ThreadMovedOn
from mirror.models import Message, Thread, ThreadMessage
from mirror.threads.thread_messages import FACTS, has_come_or_left, letter_of_message, messages_in, written_at
from rendering import named

# Of all threads that are looked at together.
MAX_SIBLINGS = 5000
_WORDS: dict[str, str] = {
    Thread.Problem.NO_KEY: "The thread is not visible with this key.",
    Thread.Problem.REFUSED: "The thread is not visible with this key: MultiMail refuses it.",
    Thread.Problem.GONE: "MultiMail knows no such thread (404).",
    Thread.Problem.FAILING: "The thread could not be read just now. It is tried again by itself.",
}


@dataclass(frozen=True)
class Conversation:
    """What the desk knows of a thread: its letters, newest first, without the draft; `late` came after the draft.

    `late_id` is what says that all of those were read; 0 where there is none, or one is too new to have a key.
    """

    letters: tuple[ThreadMessage, ...] = ()
    late: tuple[ThreadMessage, ...] = ()
    thread: Thread | None = None
    has_thread: bool = False

    @property
    def late_id(self) -> int:
        return max((letter.pk for letter in self.late if letter.pk), default=0)

    @property
    def is_catching_up(self) -> bool:
        """Whether a letter came in this moment, and nobody can have read it yet."""
        return any(letter.pk is None for letter in self.late)

    @property
    def part(self) -> str:
        """The name of the thread as it is now, among the parts that a person opened."""
        return f"thread:{max((letter.pk or 0 for letter in self.letters), default=0)}"

    @property
    def earlier(self) -> int:
        """How many letters did not come after the draft."""
        return len(self.letters) - len(self.late)

    @property
    def is_being_read(self) -> bool:
        """Whether a read of it is to come or under way, and none has ended yet."""
        return self.has_thread and (self.thread is None or (self.thread.read_at is None and not self.thread.problem))

    @property
    def words(self) -> str:
        """What keeps the thread from being whole here, as a sentence; empty where nothing does."""
        problem = self.thread.problem if self.thread else ""
        if problem:
            only = " Only what went through this desk stands here." if self.letters else ""
            return f"{_WORDS[problem]}{only}"
        return "Only its newest messages are shown here." if self.thread and self.thread.is_cut else ""

    def check_read(self, *, upto: int) -> None:
        """Raise ThreadMovedOn where a letter came after the draft that is newer than the one of this key."""
        if self.is_catching_up:
            raise ThreadMovedOn("A message of this thread came in this moment. Wait until it stands here, and read it.")
        unread = [letter for letter in self.late if letter.pk > upto]
        if not unread:
            return
        newest = unread[0]
        who = named(newest.sender) or "Somebody"
        wrote = "wrote" if newest.direction == "inbound" else "sent a message"
        others = f", and {len(unread) - 1} more came" if len(unread) > 1 else ""
        raise ThreadMovedOn(
            f"{who} {wrote} in this thread on {newest.at:%-d %b at %H:%M} UTC, after this draft{others}. "
            "Read that, tick that you did, then approve."
        )


def thread_of(message: Message) -> tuple[ThreadMessage, ...]:
    """Return the letters of the message's thread, newest first, without the message itself.

    Those of the desk's mirror that no read of the thread has brought yet are among them, unsaved. `text` is plain text
    with everything invisible named; `is_fact` says that a letter came or left, others wait or came to nothing.
    """
    return conversation_of(message).letters


def conversation_of(message: Message) -> Conversation:
    """Return the thread as the desk knows it, in three queries; none for a message without a thread."""
    if not message.thread_id or message.mailbox_id is None:
        return Conversation()
    thread = Thread.objects.of_message(message).first()
    kept = list(thread.letters.all()) if thread else []
    siblings = messages_in(message.mailbox_id, message.thread_id)
    return _told(message, thread, kept, siblings, with_text=True)


def came_since(messages: Sequence[Message]) -> dict[int, ThreadMessage]:
    """Return, by the keys of drafts that letters of their threads came after, the newest of those, without its text.

    In three queries whatever the number of drafts, and from the newest letters of their threads.
    """
    drafts = [one for one in messages if one.thread_id and one.mailbox_id and one.direction != "inbound"]
    if not drafts:
        return {}
    letters = Prefetch("letters", queryset=ThreadMessage.objects.defer("text"))
    threads: dict[tuple[int | None, str], Thread] = {
        (one.mailbox_id, one.upstream_id): one for one in Thread.objects.of_messages(drafts).prefetch_related(letters)
    }
    siblings: dict[tuple[int | None, str], list[Message]] = {}
    for one in Message.objects.in_threads_of(drafts).come_or_left(FACTS).order_by("-held_at")[:MAX_SIBLINGS]:
        siblings.setdefault((one.mailbox_id, one.thread_id), []).append(one)
    found = {}
    for draft in drafts:
        place = (draft.mailbox_id, draft.thread_id)
        thread = threads.get(place)
        kept = list(thread.letters.all()) if thread else []
        late = _told(draft, thread, kept, siblings.get(place, []), with_text=False).late
        if late:
            found[draft.pk] = late[0]
    return found


def _told(
    message: Message,
    thread: Thread | None,
    letters: Sequence[ThreadMessage],
    siblings: Sequence[Message],
    *,
    with_text: bool,
) -> Conversation:
    kept = {letter.upstream_id: letter for letter in letters}
    own = kept.pop(message.upstream_id, None)
    for sibling in siblings:
        known = kept.get(sibling.upstream_id)
        if sibling.pk == message.pk:
            continue
        # The mirror may have heard by a webhook what the last read of the thread could not tell.
        if known is None or (has_come_or_left(sibling) and not known.is_fact):
            kept[sibling.upstream_id] = letter_of_message(sibling, with_text=with_text)
    told = tuple(sorted(kept.values(), key=lambda letter: (letter.at, letter.pk or 0), reverse=True))
    since = written_at(message, own)
    is_draft = message.direction != "inbound"
    late = tuple(letter for letter in told if is_draft and letter.is_fact and letter.at > since)
    return Conversation(told, late, thread, has_thread=True)
