"""How a person likes the desk to be. It changes nothing but what that person sees."""

from collections.abc import Mapping

from audit.recording import record
from common.postgres.anew import atomic_anew
from people.actors import Actor
from people.keys import moved_from
from people.models import Person


@atomic_anew
def put_text_first(*, actor: Actor, wanted: bool) -> None:
    """Let the actor's letters open as text, or laid out; recorded where that changes something."""
    changed = Person.objects.filter(pk=int(actor.id)).exclude(text_first=wanted).update(text_first=wanted)
    if changed:
        record("person.reads_text_first" if wanted else "person.reads_laid_out", actor=actor)


@atomic_anew
def put_keys(*, actor: Actor, places: Mapping[str, str]) -> None:
    """Put the actor's keys where they shall be; recorded where that changes something."""
    moved = moved_from(places)
    if Person.objects.filter(pk=int(actor.id)).exclude(key_map=moved).update(key_map=moved):
        record("person.keys_moved", actor=actor)


@atomic_anew
def switch_keys(*, actor: Actor, off: bool) -> None:
    """Switch the actor's single keys off or on; recorded where that changes something."""
    if Person.objects.filter(pk=int(actor.id)).exclude(keys_off=off).update(keys_off=off):
        record("person.keys_off" if off else "person.keys_on", actor=actor)
