"""What people add to a message for each other: claims, snoozes, comments, mentions. No
pages.

A claim blocks nobody from deciding, a snooze hides a message from one person alone, and
a comment never leaves the desk and never changes. The listeners at the end end what an
entry of the ledger ends, in its transaction.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Now
from django.db.models.signals import post_save

from approvals.decisions.ruling import is_reviewer, lock_visible, may_handle
from approvals.desk_messages import awaits_review, desk_messages
from approvals.errors import AlreadyDecided, ClaimedByOther, InvalidInput
from approvals.models import Claim, Comment, Decision, Question, Snooze
from approvals.models.collaboration import ClaimQuerySet, SnoozeQuerySet
from audit.models import Entry
from audit.recording import recorded
from common.actors import Actor, worker
from common.counts import count_of
from common.postgres import atomic_with_retry, clock
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.recording import record_about
from mirror.terms import BACK_BEFORE
from people.models import Person

DECIDED = "The message was decided."
CHANGED = "The message changed."
IDLE = "The claimer did not have it open for ten minutes."
GONE = "The claimer was deactivated."
BEYOND = "The claimer may no longer decide it."
SIGNED_OUT = "The claimer signed out."
# Pages ask what changed about this often; a claim is not updated more often.
_OFTEN = timedelta(seconds=15)
_BATCH = 200


@atomic_with_retry
def take_claim(*, message: UUID, actor: Actor, from_holder: int | None = None) -> Claim:
    """Claim a message, so that others see who works on it; its holder only refreshes
    the claim.

    Raises ClaimedByOther where somebody other than `from_holder` has it: of two people
    who take it over at once, the second learns about the first. Raises ActNotAllowed
    for people who cannot decide here, and AlreadyDecided where nothing is left to
    decide.
    """
    locked = lock_visible(message, actor=actor)
    if not is_reviewer(actor, locked):
        raise ActNotAllowed("Only a reviewer of this mailbox can claim a message.")
    if not awaits_review(locked.pk):
        raise AlreadyDecided(
            "This message is already decided, so it cannot be claimed."
        )
    mine = int(actor.id)
    held = Claim.objects.on(locked)
    live = held.live().select_related("person").first()
    if live is None:
        end_claims(held, actor=worker("desk"))
    elif live.person_id == mine:
        touch_claim(locked, actor=actor)
        return live
    elif live.person_id != from_holder:
        raise ClaimedByOther(f"{live.person} has this message.")
    else:
        end_claims(held, actor=actor, why=f"{actor.label} took it over.")
    claim = Claim.objects.create(message=locked, person_id=mine)
    details = {"subject": locked.subject, "from": str(live.person) if live else ""}
    record_about("claim.taken", locked, actor=actor, details=details, about=claim)
    return claim


def assign_claim(message: Message, *, to: Person, actor: Actor, why: str) -> Claim:
    """Assign a locked message to a person, instead of whoever has it, in the caller's
    transaction.

    It lasts until the message is decided, the person releases it, or somebody else gets
    it.
    """
    held = Claim.objects.on(message)
    found = held.first()
    if found is not None and found.is_assigned and found.person_id == to.pk:
        return found
    if found is not None:
        end_claims(held, actor=actor, why=f"It was assigned to {to}.")
    claim = Claim.objects.create(message=message, person=to, is_assigned=True)
    Person.objects.filter(pk=to.pk).update(assigned_at=Now())
    details = {"subject": message.subject, "to": str(to), "explanation": why}
    record_about("message.assigned", message, actor=actor, details=details, about=claim)
    return claim


def touch_claim(message: Message, *, actor: Actor) -> None:
    """Note that the holder has the message on screen; an expired claim is not renewed."""
    if actor.kind == "person":
        own = Claim.objects.on(message).of_person(int(actor.id)).live()
        own.filter(seen_at__lt=Now() - _OFTEN).update(seen_at=Now())


def release_claim(*, message: UUID, actor: Actor) -> bool:
    """Release the actor's own claim; False where they have none."""
    own = Claim.objects.of_person(int(actor.id)).filter(message__public_id=message)
    return bool(end_claims(own, actor=actor, why=f"By {actor.label}."))


def end_idle_claims() -> int:
    """End claims that are idle, on messages that are decided, or of people who left."""
    return end_claims(
        Claim.objects.over().order_by("pk")[:_BATCH], actor=worker("desk")
    )


@atomic_with_retry
def end_claims(claims: ClaimQuerySet, *, actor: Actor, why: str = "") -> int:
    """End claims and record why: where no reason is given, the one that each has.
    Return how many there were.
    """
    found = list(claims.under_lock())
    for claim in found:
        message = claim.message
        over = IDLE if message.is_held else DECIDED
        details = {
            "holder": str(claim.person),
            "explanation": why or (over if claim.person.is_active else GONE),
            "subject": message.subject,
        }
        record_about(
            "claim.released", message, actor=actor, details=details, about=claim
        )
    Claim.objects.filter(pk__in=[one.pk for one in found]).delete()
    return len(found)


LONGEST_SNOOZE = timedelta(days=30)


@atomic_with_retry
def snooze_message(*, message: UUID, actor: Actor, until: datetime) -> datetime:
    """Hide a message from the actor's list until a time, or until an hour before it
    expires if that comes first.

    Return which it is. Raises InvalidInput for a time in the past or too far ahead,
    and for a message that awaits no decision.
    """
    locked = lock_visible(message, actor=actor)
    if not awaits_review(locked.pk):
        raise InvalidInput(
            "This message is no longer waiting, so it cannot be snoozed."
        )
    at = clock()
    latest = locked.expires_at - BACK_BEFORE if locked.expires_at else None
    if latest is not None and latest <= at:
        raise InvalidInput(
            "This message expires within an hour, so it cannot be snoozed."
        )
    if until <= at:
        raise InvalidInput("That time is in the past. Choose a later one.")
    if until > at + LONGEST_SNOOZE:
        raise InvalidInput("Snooze it for at most 30 days.")
    wanted = min(until, latest) if latest else until
    snooze, _ = Snooze.objects.update_or_create(
        message=locked, person_id=int(actor.id), defaults={"until": wanted}
    )
    details = {"until": wanted.isoformat(timespec="seconds"), "subject": locked.subject}
    record_about("snooze.set", locked, actor=actor, details=details, about=snooze)
    return wanted


@atomic_with_retry
def unsnooze_message(*, message: UUID, actor: Actor) -> None:
    """End the actor's snooze of a message, if there is one."""
    own = Snooze.objects.of_person(int(actor.id)).filter(message__public_id=message)
    _end_snoozes(own, actor=actor, why=f"By {actor.label}.")


@atomic_with_retry
def unsnooze_due() -> int:
    """End the snoozes whose time has come or whose message is not held any more."""
    over = Snooze.objects.over().order_by("pk")[:_BATCH]
    return _end_snoozes(over, actor=worker("desk"), why="The time is over.")


def _end_snoozes(snoozes: SnoozeQuerySet, *, actor: Actor, why: str) -> int:
    found = list(snoozes.under_lock())
    for snooze in found:
        message = snooze.message
        details = {
            "for": str(snooze.person),
            "explanation": why,
            "subject": message.subject,
        }
        record_about(
            "snooze.ended", message, actor=actor, details=details, about=snooze
        )
    Snooze.objects.filter(pk__in=[one.pk for one in found]).delete()
    return len(found)


def count_snoozed_by(actor: Actor) -> int:
    """Return how many messages await review that this person has snoozed."""
    if not Snooze.objects.of_person(int(actor.id)).exists():
        return 0
    return count_of(desk_messages().snoozed_by(actor))


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
    hidden = Snooze.objects.on(locked).filter(person__in=asked)
    _end_snoozes(hidden, actor=actor, why="Somebody asks about it.")
    return asked, remarks


def count_asked_of(actor: Actor) -> int:
    """Return how many messages wait with a question to this person."""
    questions = Question.objects.of_person(int(actor.id))
    if not questions.exists():
        return 0
    waiting = desk_messages().visible_to(actor).awaiting_review()
    asked = waiting.filter(pk__in=questions.values("message"))
    return asked.values("pk")[:MOST_ASKED].count()


def connect() -> None:
    """Listen to the ledger, and to people."""
    recorded.connect(on_recorded, dispatch_uid="approvals.desk")
    post_save.connect(
        on_person_saved, sender=Person, dispatch_uid="approvals.desk.people"
    )


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """End the claims, snoozes and questions that an entry ends."""
    by = Actor(
        kind=entry.actor_kind,
        id=entry.actor_id,
        label=details.get("actor", ""),
        surface=entry.surface,
        address=details.get("address", ""),
    )
    if entry.action == "decision.recorded" and isinstance(about, Decision):
        _end_what_is_over(about.message, by)
        if about.given_by_id is not None:
            # Whoever decided has answered.
            asked = Question.objects.of_person(about.given_by_id)
            asked.on(about.message).delete()
    elif entry.action == "message.cancelled" and isinstance(about, Message):
        _end_what_is_over(about, by)
    elif entry.action == "message.changed" and entry.message is not None:
        snoozes = Snooze.objects.filter(message__public_id=entry.message)
        _end_snoozes(snoozes, actor=by, why=CHANGED)
    elif entry.action == "person.signed_out" and entry.actor_kind == "person":
        own = Claim.objects.of_person(int(entry.actor_id))
        end_claims(own, actor=by, why=SIGNED_OUT)
    elif entry.action == "person.grants_changed" and isinstance(about, Person):
        # Only those on messages that their current roles do not let them decide.
        holder = Person.objects.get(pk=about.pk).actor(surface=by.surface)
        held = Claim.objects.of_person(about.pk).select_related("message")
        beyond = [one.pk for one in held if not is_reviewer(holder, one.message)]
        end_claims(Claim.objects.filter(pk__in=beyond), actor=by, why=BEYOND)


def _end_what_is_over(message: Message, by: Actor) -> None:
    """End the claim and the snoozes of a decided message."""
    # Mostly there is none. The message is locked, so none can be added meanwhile.
    claims = Claim.objects.on(message)
    if claims.exists():
        end_claims(claims, actor=by, why=DECIDED)
    snoozes = Snooze.objects.on(message)
    if snoozes.exists():
        _end_snoozes(snoozes, actor=by, why=DECIDED)


def on_person_saved(instance: Person, **_: Any) -> None:
    """End the claims of a deactivated person; the sweep finds those whose rights
    changed in another way.
    """
    if not instance.is_active:
        own = Claim.objects.of_person(instance.pk)
        end_claims(own, actor=worker("desk"), why=GONE)
