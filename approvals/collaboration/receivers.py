"""Hears in the ledger what ends a claim, a snooze or a question, and ends it in the same transaction."""

from collections.abc import Mapping
from typing import Any

from django.db.models.signals import post_save

from approvals.collaboration import claims, snooze
from approvals.models import Question
from approvals.querysets.messages import desk_messages
from audit.models import Entry
from audit.recording import recorded
from people.actors import Actor, worker
from people.models import Person


def on_recorded(entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any) -> None:
    """End what the entry ends; each is one question to a short table.

    Of what is decided, which is locked, nobody can take it on or put it off between the question and the end.
    """
    if entry.action == "decision.recorded" and entry.message is not None:
        by = _actor_of(entry, details)
        is_taken, is_put_off = desk_messages().left_at(entry.message)
        if is_taken:
            claims.release_decided(entry.message, actor=by)
        if is_put_off:
            snooze.unsnooze_for(entry.message, why=snooze.DECIDED, actor=by)
    elif entry.action == "verdict.given" and entry.message is not None:
        Question.objects.of_person(int(entry.actor_id)).filter(message__public_id=entry.message).delete()
    elif entry.action == "message.changed" and entry.message is not None:
        snooze.unsnooze_for(entry.message, why=snooze.CHANGED, actor=_actor_of(entry, details))
    elif entry.action == "person.signed_out" and entry.actor_kind == "person":
        by = _actor_of(entry, details)
        claims.release_all_of(person=int(entry.actor_id), why=claims.SIGNED_OUT, actor=by)
    elif entry.action == "person.grants_changed" and isinstance(about, Person):
        claims.release_beyond(about, actor=_actor_of(entry, details))


def on_person_saved(instance: Person, **_: Any) -> None:
    """Give free what somebody had who may not sign in any more; changed in another way, the sweep finds it."""
    if not instance.is_active:
        claims.release_all_of(person=instance.pk, why=claims.GONE, actor=worker("desk"))


def _actor_of(entry: Entry, details: Mapping[str, str]) -> Actor:
    return Actor(
        kind=entry.actor_kind,
        id=entry.actor_id,
        label=details.get("actor", ""),
        surface=entry.surface,
        address=details.get("address", ""),
    )


def connect() -> None:
    """Listen to the ledger, and to people."""
    recorded.connect(on_recorded, dispatch_uid="approvals.desk")
    post_save.connect(on_person_saved, sender=Person, dispatch_uid="approvals.desk.people")
