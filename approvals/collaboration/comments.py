"""Comments on a message and the people they mention. A comment never leaves the desk,
and never changes.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from uuid import UUID

from approvals.collaboration.snooze import ASKED, unsnooze_for
from approvals.decisions.ruling import lock_visible, may_handle
from approvals.desk_messages import desk_messages
from approvals.models import Comment, Question
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.recording import record_about
from people.models import Person

# Inside a word, @ belongs to a mail address or another site's handle.
_AT = re.compile(r"(?<![\w.@+-])@(?=\w)")
# Names beyond these are offered when more letters are typed.
MOST_OFFERED = 8
MOST_ASKED = 100
_WORD = re.compile(r"[\w.+-]+(?:@[\w.-]+)?")


def people_seeing(message: Message) -> list[Person]:
    """Return the active people who may see this message, by name."""
    seeing = Person.objects.seeing(
        connection=message.connection_id, mailbox=message.mailbox_id
    )
    return list(seeing.only("name", "email"))


def mentions_in(text: str, people: Sequence[Person]) -> tuple[list[Person], list[str]]:
    """Return the people that a text mentions, in order, and a remark on each name that
    matches nobody or several.

    The longest matching name counts: "@Ana Ferreira" is not "@Ana".
    """
    spellings = _spellings(people)
    found: dict[int, Person] = {}
    remarks: list[str] = []
    folded = _casefolded(text)
    for at in _AT.finditer(folded):
        rest = folded[at.end() :]
        fitting = [
            one
            for one in spellings
            if rest.startswith(one) and not re.match(r"[\w@]", rest[len(one) :])
        ]
        meant = spellings[max(fitting, key=len)] if fitting else []
        typed = _WORD.match(rest)
        word = typed[0].rstrip(".") if typed else ""
        if len(meant) == 1:
            found.setdefault(meant[0].id, meant[0])
        elif meant:
            remarks.append(
                f"“@{word}” could be {' or '.join(map(str, meant))}: write the whole name or the address."
            )
        elif word:
            remarks.append(f"“@{word[:60]}” names nobody who sees this message.")
    return list(found.values()), list(dict.fromkeys(remarks))


def names_offered(
    typed: str, people: Sequence[Person], *, actor: Actor
) -> list[tuple[Person, str]]:
    """Return the others of whom a word of the name, or the address, begins with what
    was typed after @.

    Each comes with what to write there: the name, or the address where two have it.
    """
    begun = _casefolded(typed)
    offered: list[tuple[Person, str]] = []
    for one in people:
        beginnings = [*_spellings([one]), *_casefolded(one.name).split()]
        if str(one.pk) == actor.id or not any(
            word.startswith(begun) for word in beginnings
        ):
            continue
        is_clear = mentions_in(f"@{one}", people) == ([one], [])
        offered.append((one, str(one) if is_clear else one.email))
        if len(offered) == MOST_OFFERED:
            break
    return offered


def _casefolded(text: str) -> str:
    # Case folding may change the length; that is fine, since positions are not used.
    return unicodedata.normalize("NFKC", text).casefold()


def _spellings(people: Iterable[Person]) -> dict[str, list[Person]]:
    """Return what each person may be called: full name, first name, address, and the
    address's local part.
    """
    found: dict[str, list[Person]] = {}
    for one in people:
        first = one.name.split()[:1]
        for spelling in {
            _casefolded(word)
            for word in (one.name, one.email, one.email.partition("@")[0], *first)
        }:
            if spelling:
                found.setdefault(spelling, []).append(one)
    return found


MAX_COMMENT = 2000
ONLY_COMMENTERS = "Only a reviewer or an admin of this mailbox can comment."


@atomic_with_retry
def add_comment(
    *, message: UUID, actor: Actor, text: str
) -> tuple[list[Person], list[str]]:
    """Store a comment; people mentioned in it find the message in Mine until it is
    decided or they answer.

    Return these people, and remarks on names that match nobody. Raises ActNotAllowed
    for people who may only read.
    """
    locked = lock_visible(message, actor=actor)
    if not may_handle(actor, locked):
        raise ActNotAllowed(ONLY_COMMENTERS)
    mentioned, remarks = mentions_in(text, people_seeing(locked))
    asked = [one for one in mentioned if str(one.id) != actor.id]
    comment = Comment.objects.create(message=locked, person_id=int(actor.id), text=text)
    comment.mentions.set(asked)
    for one in asked:
        Question.objects.update_or_create(
            message=locked, person=one, defaults={"comment": comment}
        )
    # A comment answers the open questions to its author.
    Question.objects.on(locked).of_person(int(actor.id)).delete()
    details = {
        "comment": text,
        "mentions": ", ".join(map(str, asked)),
        "subject": locked.subject,
    }
    record_about("comment.added", locked, actor=actor, details=details, about=comment)
    unsnooze_for(
        locked.public_id, why=ASKED, actor=actor, people=[one.id for one in asked]
    )
    return asked, remarks


def delete_past_questions() -> int:
    """Delete the questions on messages that are decided."""
    return Question.objects.past().delete()[0]


def count_asked_of(actor: Actor) -> int:
    """Return how many messages wait with a question to this person."""
    if not Question.objects.of_person(int(actor.id)).exists():
        return 0
    return desk_messages().asked_of(actor).values("pk")[:MOST_ASKED].count()
