"""What people change about their own account."""

from audit.recording import changed, record
from common.postgres.anew import atomic_anew
from people.actors import Actor
from people.models import Person
from people.sign_in.sessions import end_sessions


@atomic_anew
def rename(*, actor: Actor, name: str) -> None:
    """Give the actor another name; recorded where that changes something. What was done keeps the name of its time."""
    person = Person.objects.select_for_update().get(pk=int(actor.id))
    if person.name != name:
        before, person.name = person.name, name
        person.save(update_fields=["name"])
        record("person.renamed", actor=actor, details=changed(before=before, after=name), about=person)


@atomic_anew
def choose_time_zone(*, actor: Actor, zone: str) -> None:
    """Show the actor times in this zone; recorded where that changes something."""
    person = Person.objects.select_for_update().get(pk=int(actor.id))
    if person.time_zone != zone:
        before, person.time_zone = person.time_zone, zone
        person.save(update_fields=["time_zone"])
        record("person.time_zone_set", actor=actor, details=changed(before=before, after=zone))


@atomic_anew
def note_failed_confirmation(*, actor: Actor) -> None:
    """Note that somebody who is signed in as the actor did not know the password."""
    record("person.confirmation_failed", actor=actor)


@atomic_anew
def change_password(*, actor: Actor, password: str, this_key: str) -> Person:
    """Give the actor another password, and end all their sessions but the one of `this_key`.

    That one holds the old password's mark too: the caller writes the new one into it.
    """
    person = Person.objects.select_for_update().get(pk=int(actor.id))
    person.set_password(password)
    person.save(update_fields=["password"])
    ended = end_sessions(person, except_key=this_key)
    record("person.password_changed", actor=actor, details={"sessions ended": str(ended)}, about=person)
    return person
