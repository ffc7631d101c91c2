"""Receives ledger entries that end a claim, a snooze or a question, and ends it in the
same transaction.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models.signals import post_save

from approvals.collaboration import claims, snooze
from approvals.models import Claim, Decision, Question, Snooze
from audit.models import Entry
from audit.recording import recorded
from common.actors import Actor, worker
from mirror.models import Message
from people.models import Person


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """End what the entry ends."""
    by = Actor(
        kind=entry.actor_kind,
        id=entry.actor_id,
        label=details.get("actor", ""),
        surface=entry.surface,
        address=details.get("address", ""),
    )
    if entry.action == "decision.recorded" and isinstance(about, Decision):
        _end_what_is_over(about.message, about.given_by_id, by)
    elif entry.action == "message.cancelled" and isinstance(about, Message):
        _end_what_is_over(about, None, by)
    elif entry.action == "message.changed" and entry.message is not None:
        snooze.unsnooze_for(entry.message, why=snooze.CHANGED, actor=by)
    elif entry.action == "person.signed_out" and entry.actor_kind == "person":
        claims.release_all_of(
            person=int(entry.actor_id), why=claims.SIGNED_OUT, actor=by
        )
    elif entry.action == "person.grants_changed" and isinstance(about, Person):
        claims.release_beyond(about, actor=by)


def _end_what_is_over(message: Message, person: int | None, by: Actor) -> None:
    """End the claim and the snoozes of a decided message, and the question to whoever
    decided.
    """
    # Mostly there is none. The message is locked, so none can be added meanwhile.
    if Claim.objects.on(message).exists():
        claims.release_message(message, actor=by, why=claims.DECIDED)
    if Snooze.objects.on(message).exists():
        snooze.unsnooze_for(message.public_id, why=snooze.DECIDED, actor=by)
    if person is not None:
        Question.objects.of_person(person).on(message).delete()


def on_person_saved(instance: Person, **_: Any) -> None:
    """Release the claims of a deactivated person; the sweep finds those whose rights
    changed in another way.
    """
    if not instance.is_active:
        claims.release_all_of(person=instance.pk, why=claims.GONE, actor=worker("desk"))


def connect() -> None:
    """Listen to the ledger, and to people."""
    recorded.connect(on_recorded, dispatch_uid="approvals.desk")
    post_save.connect(
        on_person_saved, sender=Person, dispatch_uid="approvals.desk.people"
    )
