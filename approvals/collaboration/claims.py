"""Claiming a message, so that others see who works on it, and releasing it. A claim
blocks nobody from deciding.
"""

from datetime import timedelta
from uuid import UUID

from django.db.models.functions import Now

from approvals.decisions.ruling import is_reviewer, lock_visible
from approvals.desk_messages import awaits_review
from approvals.errors import AlreadyDecided, ClaimedByOther
from approvals.models import Claim
from approvals.models.collaboration import ClaimQuerySet
from common.actors import Actor, worker
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.recording import record_about
from people.models import Person

DECIDED = "The message was decided."
IDLE = "The claimer did not have it open for ten minutes."
GONE = "The claimer was deactivated."
BEYOND = "The claimer may no longer decide it."
SIGNED_OUT = "The claimer signed out."
# Pages ask what changed about this often; a claim is not updated more often.
_OFTEN = timedelta(seconds=15)
_BATCH = 200


@atomic_with_retry
def take(*, message: UUID, actor: Actor, from_holder: int | None = None) -> Claim:
    """Claim a message; its holder only refreshes the claim.

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
    live = Claim.objects.on(locked).live().select_related("person").first()
    if live is None:
        _end(Claim.objects.on(locked), actor=worker("desk"))
    elif live.person_id == mine:
        touch(locked, actor=actor)
        return live
    elif live.person_id != from_holder:
        raise ClaimedByOther(f"{live.person} has this message.", holder=live.person_id)
    else:
        why = f"{actor.label} took it over."
        _end(Claim.objects.on(locked), actor=actor, why=why)
    claim = Claim.objects.create(message=locked, person_id=mine)
    details = {"subject": locked.subject, "from": str(live.person) if live else ""}
    record_about("claim.taken", locked, actor=actor, details=details, about=claim)
    return claim


def assign(message: Message, *, to: Person, actor: Actor, why: str) -> Claim:
    """Assign a locked message to a person, instead of whoever has it, in the caller's
    transaction.

    It lasts until the message is decided, the person releases it, or somebody else gets
    it.
    """
    held = Claim.objects.on(message).first()
    if held is not None and held.is_assigned and held.person_id == to.pk:
        return held
    if held is not None:
        _end(Claim.objects.on(message), actor=actor, why=f"It was assigned to {to}.")
    claim = Claim.objects.create(message=message, person=to, is_assigned=True)
    Person.objects.filter(pk=to.pk).update(assigned_at=Now())
    details = {"subject": message.subject, "to": str(to), "explanation": why}
    record_about("message.assigned", message, actor=actor, details=details, about=claim)
    return claim


def release_message(message: Message, *, actor: Actor, why: str) -> int:
    """Release the claim on a locked message, in the caller's transaction."""
    return _end(Claim.objects.on(message), actor=actor, why=why)


@atomic_with_retry
def release(*, message: UUID, actor: Actor) -> bool:
    """Release the actor's own claim; False where they have none."""
    own = Claim.objects.of_person(int(actor.id)).filter(message__public_id=message)
    return bool(_end(own, actor=actor, why=f"By {actor.label}."))


@atomic_with_retry
def release_all_of(*, person: int, why: str, actor: Actor) -> int:
    """Release all claims of a person; return how many there were."""
    return _end(Claim.objects.of_person(person), actor=actor, why=why)


@atomic_with_retry
def release_beyond(person: Person, *, actor: Actor) -> int:
    """Release the claims of a person on messages that their current roles do not let
    them decide.
    """
    holder = Person.objects.get(pk=person.pk).actor(surface=actor.surface)
    held = Claim.objects.of_person(person.pk).select_related("message")
    beyond = [claim.pk for claim in held if not is_reviewer(holder, claim.message)]
    return _end(Claim.objects.filter(pk__in=beyond), actor=actor, why=BEYOND)


@atomic_with_retry
def end_idle() -> int:
    """Release claims that are idle, on messages that are decided, or of people who
    left.
    """
    return _end(Claim.objects.over().order_by("pk")[:_BATCH], actor=worker("desk"))


def touch(message: Message, *, actor: Actor) -> None:
    """Note that the holder has the message on screen; an expired claim is not renewed."""
    if actor.kind == "person":
        own = Claim.objects.on(message).of_person(int(actor.id)).live()
        own.filter(seen_at__lt=Now() - _OFTEN).update(seen_at=Now())


def _end(claims: ClaimQuerySet, *, actor: Actor, why: str = "") -> int:
    found = list(claims.under_lock())
    for claim in found:
        message = claim.message
        why_over = IDLE if message.is_held else DECIDED
        if not claim.person.is_active:
            why_over = GONE
        details = {
            "holder": str(claim.person),
            "explanation": why or why_over,
            "subject": message.subject,
        }
        record_about(
            "claim.released", message, actor=actor, details=details, about=claim
        )
    Claim.objects.filter(pk__in=[one.pk for one in found]).delete()
    return len(found)
