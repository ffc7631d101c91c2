"""Commands by which people work together on messages: claim, assign, snooze, comment
and mention. Their pages are elsewhere.

A claim shows who works on a message and keeps nobody from deciding it. A snooze hides a
message from one person only. A comment never leaves the desk and never changes. The
listeners at the end of the file end claims, snoozes and questions when, for instance, a
message is decided; they run in the transaction of that ledger entry.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from approvals.authorship import note_words
from approvals.decisions.ruling import is_reviewer, lock_visible, may_handle
from approvals.desk_messages import awaits_review
from approvals.errors import AlreadyDecided, ClaimedByOther, InvalidInput
from approvals.models import Claim, Comment, Decision, Question, Snooze
from approvals.models.collaboration import (
    ClaimQuerySet,
    PersonalQuerySet,
    SnoozeQuerySet,
)
from audit.models import Entry
from common.actors import Actor, worker
from common.postgres import atomic_with_retry, clock
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.recording import record_about
from mirror.states import BACK_BEFORE
from people.models import Person

# Why a claim or snooze ended, for the ledger.
DECIDED = "The message was decided."
CHANGED = "The message changed."
IDLE = "The claimer did not have it open for ten minutes."
GONE = "The claimer was deactivated."
BEYOND = "The claimer may no longer decide it."
SIGNED_OUT = "The claimer signed out."
# The time of a claim is written at most this often, because open pages report in every
# few seconds.
_OFTEN = timedelta(seconds=15)
# How many rows one sweep ends.
_BATCH = 200


@atomic_with_retry
def take_claim(*, message: UUID, actor: Actor, from_holder: int | None = None) -> Claim:
    """Claim a message, so that others see who works on it. If the actor has it already,
    only its time is renewed.

    `from_holder` is the person from whom the actor takes it over, as their page showed.
    Raises ClaimedByOther if somebody else has it: so of two people who take it over at
    the same time, the second learns about the first. Raises ActNotAllowed if the actor
    is no reviewer of its mailbox, and AlreadyDecided if it awaits no decision.
    """
    locked = lock_visible(message, actor)
    if not is_reviewer(actor, locked):
        raise ActNotAllowed("Only a reviewer of this mailbox can claim a message.")
    if not awaits_review(locked.pk):
        raise AlreadyDecided(
            "This message is already decided, so it cannot be claimed."
        )
    person = actor.person_id
    claims = Claim.objects.on(locked)
    live = claims.live().select_related("person").first()
    if live is None:
        end_claims(claims, worker("desk"))
    elif live.person_id == person:
        touch_claim(locked, actor)
        return live
    elif live.person_id != from_holder:
        raise ClaimedByOther(f"{live.person} has this message.")
    else:
        end_claims(claims, actor, why=f"{actor.label} took it over.")
    claim = Claim.objects.create(message=locked, person_id=person)
    record_about(
        "claim.taken",
        locked,
        actor,
        details={"subject": locked.subject, "from": str(live.person) if live else ""},
        about=claim,
    )
    return claim


def assign_claim(message: Message, *, to: Person, actor: Actor, why: str) -> Claim:
    """Assign a locked message to a person, in the caller's transaction; a claim of
    somebody else ends. `why` is the explanation in the ledger.

    Unlike a claim that a person took, it does not expire: it lasts until the message is
    decided, the person releases it, or somebody else gets it.
    """
    claims = Claim.objects.on(message)
    current = claims.first()
    if current is not None and current.is_assigned and current.person_id == to.pk:
        return current
    if current is not None:
        end_claims(claims, actor, why=f"It was assigned to {to}.")
    claim = Claim.objects.create(message=message, person=to, is_assigned=True)
    Person.objects.filter(pk=to.pk).update(assigned_at=Now())
    record_about(
        "message.assigned",
        message,
        actor,
        details={"subject": message.subject, "to": str(to), "explanation": why},
        about=claim,
    )
    return claim


def touch_claim(message: Message, actor: Actor) -> None:
    """Note that the actor has the message on screen, if they have claimed it. A claim
    that has expired is not renewed.
    """
    if actor.kind == "person":
        own_claims = Claim.objects.on(message).of_person(actor.person_id).live()
        own_claims.filter(seen_at__lt=Now() - _OFTEN).update(seen_at=Now())


def release_claim(*, message: UUID, actor: Actor) -> bool:
    """Release the actor's own claim; False if they have none."""
    claims = Claim.objects.of_person(actor.person_id).filter(message__public_id=message)
    return bool(end_claims(claims, actor, why=f"By {actor.label}."))


def end_idle_claims() -> int:
    """End claims that are idle, on messages no longer held, or of deactivated people;
    return how many.
    """
    return end_claims(Claim.objects.over().order_by("pk")[:_BATCH], worker("desk"))


@atomic_with_retry
def end_claims(claims: ClaimQuerySet, actor: Actor, why: str = "") -> int:
    """End claims and record why; return how many. Without `why`, the reason is found
    for each: its holder is deactivated, its message is decided, or it was idle.
    """
    return _end(claims, "claim.released", "holder", actor, why)


def _end(
    rows: PersonalQuerySet[Any], action: str, whose: str, actor: Actor, why: str
) -> int:
    """Delete claims or snoozes, and record this action for each, with the person as the
    detail `whose`; return how many.
    """
    locked = list(rows.under_lock())
    for row in locked:
        message = row.message
        idle_or_decided = IDLE if message.is_held else DECIDED
        record_about(
            action,
            message,
            actor,
            details={
                whose: str(row.person),
                "explanation": why
                or (idle_or_decided if row.person.is_active else GONE),
                "subject": message.subject,
            },
            about=row,
        )
    rows.model.objects.filter(pk__in=[one.pk for one in locked]).delete()
    return len(locked)


LONGEST_SNOOZE = timedelta(days=30)


@atomic_with_retry
def snooze_message(*, message: UUID, actor: Actor, until: datetime) -> datetime:
    """Hide a message from the actor's Waiting tab until a time, but at most until an
    hour before it expires; return until when.

    Raises InvalidInput if the time is in the past or too far ahead, or the message
    awaits no decision or expires within the hour.
    """
    locked = lock_visible(message, actor)
    if not awaits_review(locked.pk):
        raise InvalidInput(
            "This message is no longer waiting, so it cannot be snoozed."
        )
    now = clock()
    latest = locked.expires_at - BACK_BEFORE if locked.expires_at else None
    if latest is not None and latest <= now:
        raise InvalidInput(
            "This message expires within an hour, so it cannot be snoozed."
        )
    if until <= now:
        raise InvalidInput("That time is in the past. Choose a later one.")
    if until > now + LONGEST_SNOOZE:
        raise InvalidInput("Snooze it for at most 30 days.")
    ends_at = min(until, latest) if latest else until
    snooze, _ = Snooze.objects.update_or_create(
        message=locked, person_id=actor.person_id, defaults={"until": ends_at}
    )
    record_about(
        "snooze.set",
        locked,
        actor,
        details={
            "until": ends_at.isoformat(timespec="seconds"),
            "subject": locked.subject,
        },
        about=snooze,
    )
    return ends_at


@atomic_with_retry
def unsnooze_message(*, message: UUID, actor: Actor) -> None:
    """End the actor's snooze of a message, if there is one."""
    snoozes = Snooze.objects.of_person(actor.person_id).filter(
        message__public_id=message
    )
    _end_snoozes(snoozes, actor, why=f"By {actor.label}.")


@atomic_with_retry
def unsnooze_due() -> int:
    """End the snoozes whose time has come, or whose message is no longer held or
    expires soon; return how many.
    """
    due = Snooze.objects.over().order_by("pk")[:_BATCH]
    return _end_snoozes(due, worker("desk"), why="The time is over.")


def _end_snoozes(snoozes: SnoozeQuerySet, actor: Actor, why: str) -> int:
    return _end(snoozes, "snooze.ended", "for", actor, why)


# The @ of a mention. Inside a word it belongs to a mail address or to another site's
# handle.
_AT = re.compile(r"(?<![\w.@+-])@(?=\w)")
# Names beyond these are offered when more letters are typed.
MOST_OFFERED = 8
# What was typed after the @, for a remark: a name or an address.
_WORD = re.compile(r"[\w.+-]+(?:@[\w.-]+)?")


def people_seeing(message: Message) -> list[Person]:
    """Return the active people who may see this message, by name."""
    seeing = Person.objects.seeing(
        connection=message.connection_id, mailbox=message.mailbox_id
    )
    return list(seeing.only("name", "email"))


def mentions_in(text: str, people: Sequence[Person]) -> tuple[list[Person], list[str]]:
    """Return which of these people a text mentions, in order, and a remark for each
    mention that fits nobody or several of them.

    The longest name that fits counts: "@Ana Ferreira" is not "@Ana".
    """
    people_by_name = _people_by_name(people)
    mentioned: dict[int, Person] = {}
    remarks = []
    folded = _casefolded(text)
    for mention in _AT.finditer(folded):
        text_after = folded[mention.end() :]
        fitting = [
            name
            for name in people_by_name
            if text_after.startswith(name)
            and not re.match(r"[\w@]", text_after[len(name) :])
        ]
        people_named = people_by_name[max(fitting, key=len)] if fitting else []
        typed = _WORD.match(text_after)
        word = typed[0].rstrip(".") if typed else ""
        if len(people_named) == 1:
            mentioned.setdefault(people_named[0].id, people_named[0])
        elif people_named:
            remarks.append(
                f"“@{word}” could be {' or '.join(map(str, people_named))}: write the whole name or the address."
            )
        elif word:
            remarks.append(f"“@{word[:60]}” names nobody who sees this message.")
    return list(mentioned.values()), list(dict.fromkeys(remarks))


def names_offered(
    typed: str, people: Sequence[Person], actor: Actor
) -> list[tuple[Person, str]]:
    """Return whom a comment may mention after these letters of a name or an address,
    each with the text to insert: the name, or the address if two have that name.
    """
    begun = _casefolded(typed)
    offered = []
    for person in people:
        names = [*_people_by_name([person]), *_casefolded(person.name).split()]
        if str(person.pk) == actor.id or not any(
            name.startswith(begun) for name in names
        ):
            continue
        is_clear = mentions_in(f"@{person}", people) == ([person], [])
        offered.append((person, str(person) if is_clear else person.email))
        if len(offered) == MOST_OFFERED:
            break
    return offered


def _casefolded(text: str) -> str:
    # Case folding may change the length; that is fine, since positions are not used.
    return unicodedata.normalize("NFKC", text).casefold()


def _people_by_name(people: Iterable[Person]) -> dict[str, list[Person]]:
    """Return who is meant by each name. A person has several: full name, first name,
    address, and the part of the address before the @.
    """
    people_by_name: dict[str, list[Person]] = {}
    for one in people:
        names = (
            one.name,
            one.email,
            one.email.partition("@")[0],
            *one.name.split()[:1],
        )
        for name in {_casefolded(name) for name in names if name}:
            people_by_name.setdefault(name, []).append(one)
    return people_by_name


MAX_COMMENT = 2000
ONLY_COMMENTERS = "Only a reviewer or an admin of this mailbox can comment."


@atomic_with_retry
def add_comment(
    *, message: UUID, actor: Actor, text: str
) -> tuple[list[Person], list[str]]:
    """Store a comment. People whom it mentions find the message in their list Mine
    until it is decided or they answer.

    Return the people who find it there, and remarks on mentions that could not be
    matched. Raises ActNotAllowed if the actor is neither reviewer nor admin of
    the mailbox.
    """
    locked = lock_visible(message, actor)
    if not may_handle(actor, locked):
        raise ActNotAllowed(ONLY_COMMENTERS)
    mentioned, remarks = mentions_in(text, people_seeing(locked))
    people_asked = [one for one in mentioned if str(one.id) != actor.id]
    comment = Comment.objects.create(
        message=locked, person_id=actor.person_id, text=text
    )
    comment.mentions.set(people_asked)
    note_words(actor, text, about=locked)
    for one in people_asked:
        Question.objects.update_or_create(
            message=locked, person=one, defaults={"comment": comment}
        )
    # A comment answers the open questions to its author.
    locked.questions.filter(person=actor.person_id).delete()
    record_about(
        "comment.added",
        locked,
        actor,
        details={
            "comment": text,
            "mentions": ", ".join(map(str, people_asked)),
            "subject": locked.subject,
        },
        about=comment,
    )
    snoozes = locked.snoozes.filter(person__in=people_asked)
    _end_snoozes(snoozes, actor, why="Somebody asks about it.")
    # Mine lists only what awaits review.
    return people_asked if awaits_review(locked.pk) else [], remarks


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """End claims, snoozes and questions after a ledger entry that makes them pointless,
    in its transaction.
    """
    by = Actor(
        kind=entry.actor_kind,
        id=entry.actor_id,
        label=details.get("actor", ""),
        surface=entry.surface,
        address=details.get("address", ""),
    )
    if entry.action == "decision.recorded" and isinstance(about, Decision):
        _end_claim_and_snoozes(about.message, by)
        if about.given_by_id is not None:
            # Deciding answers the open questions to whoever decided.
            about.message.questions.filter(person=about.given_by_id).delete()
    elif entry.action == "message.cancelled" and isinstance(about, Message):
        _end_claim_and_snoozes(about, by)
    elif entry.action == "message.changed" and entry.message is not None:
        snoozes = Snooze.objects.filter(message__public_id=entry.message)
        _end_snoozes(snoozes, by, why=CHANGED)
    elif entry.action == "person.signed_out" and entry.actor_kind == "person":
        # An assignment lasts until somebody ends it.
        own_claims = Claim.objects.of_person(int(entry.actor_id))
        end_claims(own_claims.filter(is_assigned=False), by, why=SIGNED_OUT)
    elif entry.action == "person.grants_changed" and isinstance(about, Person):
        # End only their claims on messages that they may no longer decide.
        holder = Person.objects.get(pk=about.pk).actor(surface=by.surface)
        held = Claim.objects.of_person(about.pk).select_related("message")
        beyond = [one.pk for one in held if not is_reviewer(holder, one.message)]
        end_claims(Claim.objects.filter(pk__in=beyond), by, why=BEYOND)


def _end_claim_and_snoozes(message: Message, by: Actor) -> None:
    """End the claim and the snoozes of a decided message."""
    _end(Claim.objects.on(message), "claim.released", "holder", by, DECIDED)
    _end_snoozes(message.snoozes.all(), by, why=DECIDED)


def on_person_saved(instance: Person, **_: Any) -> None:
    """End the claims of a person who was deactivated."""
    if not instance.is_active:
        end_claims(Claim.objects.of_person(instance.pk), worker("desk"), why=GONE)
