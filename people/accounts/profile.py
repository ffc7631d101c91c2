"""What people change about themselves: name, password, and preferences that change nothing but what they see."""

from collections.abc import Mapping
from typing import Any

from audit.recording import changed, record
from common.postgres.retry import atomic_with_retry
from people.accounts.shortcuts import moved_from
from people.actors import Actor
from people.models import Person
from people.sign_in.sessions import end_sessions


@atomic_with_retry
def rename(*, actor: Actor, name: str) -> None:
    """Give the actor another name; recorded where that changes something. Older entries keep the older name."""
    person, before = _set(actor, "name", name)
    if before != name:
        record("person.renamed", actor=actor, details=changed(before=before, after=name), about=person)


@atomic_with_retry
def choose_time_zone(*, actor: Actor, zone: str) -> None:
    """Show the actor times in this zone; recorded where that changes something."""
    _, before = _set(actor, "time_zone", zone)
    if before != zone:
        record("person.time_zone_set", actor=actor, details=changed(before=before, after=zone))


@atomic_with_retry
def set_text_first(*, actor: Actor, wanted: bool) -> None:
    """Open the actor's messages as text, or laid out; recorded where that changes something."""
    _, before = _set(actor, "text_first", wanted)
    if before != wanted:
        words = ["laid out", "as text"]
        action = "person.reads_text_first" if wanted else "person.reads_laid_out"
        record(action, actor=actor, details=changed(before=words[before], after=words[wanted]))


@atomic_with_retry
def set_shortcuts(*, actor: Actor, places: Mapping[str, str]) -> None:
    """Give the actor's shortcuts these keys; recorded where that changes something."""
    moved = moved_from(places)
    _, before = _set(actor, "key_map", moved)
    if before != moved:
        words = [", ".join(f"{n}: {key}" for n, key in sorted(of.items())) or "as delivered" for of in (before, moved)]
        record("person.keys_moved", actor=actor, details=changed(before=words[0], after=words[1]))


@atomic_with_retry
def switch_shortcuts(*, actor: Actor, off: bool) -> None:
    """Switch the actor's shortcuts off or on; recorded where that changes something."""
    _, before = _set(actor, "keys_off", off)
    if before != off:
        words = ["on", "off"]
        action = "person.keys_off" if off else "person.keys_on"
        record(action, actor=actor, details=changed(before=words[before], after=words[off]))


@atomic_with_retry
def change_password(*, actor: Actor, password: str, this_key: str) -> Person:
    """Give the actor another password, and end all their sessions but the one of `this_key`.

    That one still holds the old password's hash: the caller renews it.
    """
    person = Person.objects.select_for_update().get(pk=int(actor.id))
    person.set_password(password)
    person.save(update_fields=["password"])
    ended = end_sessions(person, except_key=this_key)
    record("person.password_changed", actor=actor, details={"sessions ended": str(ended)}, about=person)
    return person


def _set(actor: Actor, field: str, value: Any) -> tuple[Person, Any]:
    """Set a field of the locked actor where it differs, and return the person with the value from before."""
    person = Person.objects.select_for_update().get(pk=int(actor.id))
    before = getattr(person, field)
    if before != value:
        setattr(person, field, value)
        person.save(update_fields=[field])
    return person, before
