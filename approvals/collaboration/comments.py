"""Comments on a message and the people they mention. A comment never leaves the desk, and never changes."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from approvals.collaboration.snooze import ASKED, unsnooze_for
from approvals.decisions.ruling import lock_visible
from approvals.models import Comment, Question
from approvals.reconcile.ask_again import may_look
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.recording import record_about
from people.actors import Actor
from people.models import Person

# In the middle of a word it is an address or a handle of elsewhere.
_AT = re.compile(r"(?<![\w.@+-])@(?=\w)")
_WORD = re.compile(r"[\w.+-]+(?:@[\w.-]+)?")


@dataclass(frozen=True)
class Known:
    """Somebody who can be mentioned."""

    id: int
    name: str
    email: str

    def __str__(self) -> str:
        return self.name or self.email


def mentions_in(text: str, people: Sequence[Known]) -> tuple[list[Known], list[str]]:
    """Return whom a text mentions, in its order, and a remark on each name that fits nobody, or more than one.

    The longest name that fits counts: "@Ana Ferreira" is not "@Ana".
    """
    spellings = _spellings(people)
    found: dict[int, Known] = {}
    remarks: list[str] = []
    folded = _casefolded(text)
    for at in _AT.finditer(folded):
        meant = _longest(folded[at.end() :], spellings)
        typed = _WORD.match(folded[at.end() :])
        word = typed[0].rstrip(".") if typed else ""
        if len(meant) == 1:
            found.setdefault(meant[0].id, meant[0])
        elif meant:
            remarks.append(f"“@{word}” could be {' or '.join(map(str, meant))}: write the whole name or the address.")
        elif word:
            remarks.append(f"“@{word[:60]}” names nobody who sees this message.")
    return list(found.values()), list(dict.fromkeys(remarks))


def _casefolded(text: str) -> str:
    # Never longer nor shorter in a way that matters: only what is found is used, not where.
    return unicodedata.normalize("NFKC", text).casefold()


def _spellings(people: Iterable[Known]) -> dict[str, list[Known]]:
    """Return what each person may be called: the whole name, a first name, the address, what stands before its @."""
    found: dict[str, list[Known]] = {}
    for one in people:
        first = one.name.split()[:1]
        for spelling in {_casefolded(word) for word in (one.name, one.email, one.email.partition("@")[0], *first)}:
            if spelling:
                found.setdefault(spelling, []).append(one)
    return found


def _longest(rest: str, spellings: Mapping[str, list[Known]]) -> list[Known]:
    fitting = [one for one in spellings if rest.startswith(one) and not re.match(r"[\w@]", rest[len(one) :])]
    return spellings[max(fitting, key=len)] if fitting else []


MAX_COMMENT = 2000
# More people than a list offers can still be mentioned by name.
OFFERED = 200


@dataclass(frozen=True)
class CommentResult:
    """A comment with whom it asks, and what in it named nobody."""

    comment: Comment
    asked: Sequence[Known]
    remarks: Sequence[str]


def may_comment(actor: Actor, message: Message) -> bool:
    """Whether the actor may comment: whoever decides or configures here; who only looks things up says nothing."""
    return may_look(actor, message)


@atomic_with_retry
def add_comment(*, message: UUID, actor: Actor, text: str) -> CommentResult:
    """Keep a comment; who is mentioned in it finds the message in Mine until it is decided or they answer.

    Raises ActNotAllowed for who may only read.
    """
    locked = lock_visible(message, actor=actor)
    if not may_comment(actor, locked):
        raise ActNotAllowed("Only a reviewer or an admin of this mailbox can comment.")
    seeing = Person.objects.seeing(connection=locked.connection_id, mailbox=locked.mailbox_id)
    mentioned, remarks = mentions_in(text, [Known(*one) for one in seeing.values_list("pk", "name", "email")])
    asked = [one for one in mentioned if str(one.id) != actor.id]
    comment = Comment.objects.create(message=locked, person_id=int(actor.id), text=text)
    comment.mentions.set([one.id for one in asked])
    for one in asked:
        Question.objects.update_or_create(message=locked, person_id=one.id, defaults={"comment": comment})
    # Whoever says something has answered what they were asked.
    Question.objects.on(locked).of_person(int(actor.id)).delete()
    details = {"comment": text, "mentions": ", ".join(map(str, asked)), "subject": locked.subject}
    record_about("comment.added", locked, actor=actor, details=details, about=comment)
    unsnooze_for(locked.public_id, why=ASKED, actor=actor, people=[one.id for one in asked])
    return CommentResult(comment, asked, remarks)


def delete_past_questions() -> int:
    """Delete the questions about what is past the desk: nobody has to answer them any more."""
    return Question.objects.past().delete()[0]
