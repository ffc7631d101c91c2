"""Snoozing a message for one person until a time, and ending that. Everybody else still
sees it.
"""

from datetime import datetime, timedelta
from uuid import UUID

from approvals.decisions.ruling import lock_visible
from approvals.desk_messages import awaits_review, desk_messages
from approvals.models import Snooze
from approvals.models.collaboration import SnoozeQuerySet
from common.actors import Actor, worker
from common.counts import count_of
from common.postgres import clock
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.recording import record_about
from mirror.terms import BACK_BEFORE

MOST = timedelta(days=30)
CHANGED = "The message changed."
DECIDED = "The message was decided."
ASKED = "Somebody asks about it."
ITS_TIME = "The time is over."
_BATCH = 200


@atomic_with_retry
def snooze_message(*, message: UUID, actor: Actor, until: datetime) -> datetime:
    """Hide a message from the actor's list until a time, or until an hour before it
    expires if that comes first.

    Return which it is. Raises ActNotAllowed for a time in the past or too far ahead,
    and for a message that awaits no decision.
    """
    locked = lock_visible(message, actor=actor)
    if not awaits_review(locked.pk):
        raise ActNotAllowed(
            "This message is no longer waiting, so it cannot be snoozed."
        )
    at = clock()
    latest = locked.expires_at - BACK_BEFORE if locked.expires_at else None
    if latest is not None and latest <= at:
        raise ActNotAllowed(
            "This message expires within an hour, so it cannot be snoozed."
        )
    if until <= at:
        raise ActNotAllowed("That time is in the past. Choose a later one.")
    if until > at + MOST:
        raise ActNotAllowed("Snooze it for at most 30 days.")
    wanted = min(until, latest) if latest else until
    snooze, _ = Snooze.objects.update_or_create(
        message=locked, person_id=int(actor.id), defaults={"until": wanted}
    )
    details = {"until": wanted.isoformat(timespec="seconds"), "subject": locked.subject}
    record_about("snooze.set", locked, actor=actor, details=details, about=snooze)
    return wanted


@atomic_with_retry
def unsnooze_message(*, message: UUID, actor: Actor) -> bool:
    """End the actor's snooze of a message; False where there is none."""
    own = Snooze.objects.of_person(int(actor.id)).filter(message__public_id=message)
    return bool(_end(own, actor=actor, why=f"By {actor.label}."))


def unsnooze_for(
    message: UUID, *, why: str, actor: Actor, people: list[int] | None = None
) -> int:
    """End all snoozes of a message, or those of these people, in the caller's
    transaction.
    """
    snoozes = Snooze.objects.filter(message__public_id=message)
    if people is not None:
        snoozes = snoozes.filter(person__in=people)
    return _end(snoozes, actor=actor, why=why)


@atomic_with_retry
def unsnooze_due() -> int:
    """End the snoozes whose time has come or whose message is not held any more."""
    over = Snooze.objects.over().order_by("pk")[:_BATCH]
    return _end(over, actor=worker("desk"), why=ITS_TIME)


def _end(snoozes: SnoozeQuerySet, *, actor: Actor, why: str) -> int:
    found = list(snoozes.under_lock())
    for snooze in found:
        details = {
            "for": str(snooze.person),
            "explanation": why,
            "subject": snooze.message.subject,
        }
        record_about(
            "snooze.ended", snooze.message, actor=actor, details=details, about=snooze
        )
    Snooze.objects.filter(pk__in=[one.pk for one in found]).delete()
    return len(found)


def count_snoozed_by(actor: Actor) -> int:
    """Return how many messages await review that this person has snoozed."""
    if not Snooze.objects.of_person(int(actor.id)).exists():
        return 0
    return count_of(desk_messages().snoozed_by(actor))
