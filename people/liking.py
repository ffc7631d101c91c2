"""How a person likes the desk to be. It changes nothing but what that person sees."""

from collections.abc import Mapping

from audit.recording import changed, record
from common.postgres.anew import atomic_anew
from people.accounts.shortcuts import moved_from
from people.actors import Actor
from people.models import Person


@atomic_anew
def put_text_first(*, actor: Actor, wanted: bool) -> None:
    """Let the actor's letters open as text, or laid out; recorded where that changes something."""
    if Person.objects.filter(pk=int(actor.id)).exclude(text_first=wanted).update(text_first=wanted):
        ways = ("laid out", "as text") if wanted else ("as text", "laid out")
        action = "person.reads_text_first" if wanted else "person.reads_laid_out"
        record(action, actor=actor, details=changed(before=ways[0], after=ways[1]))


@atomic_anew
def put_keys(*, actor: Actor, places: Mapping[str, str]) -> None:
    """Put the actor's keys where they shall be; recorded where that changes something."""
    person, moved = Person.objects.select_for_update().get(pk=int(actor.id)), moved_from(places)
    if person.key_map != moved:
        before, person.key_map = person.key_map, moved
        person.save(update_fields=["key_map"])
        record("person.keys_moved", actor=actor, details=changed(before=_in_words(before), after=_in_words(moved)))


@atomic_anew
def switch_keys(*, actor: Actor, off: bool) -> None:
    """Switch the actor's single keys off or on; recorded where that changes something."""
    if Person.objects.filter(pk=int(actor.id)).exclude(keys_off=off).update(keys_off=off):
        ways = ("on", "off") if off else ("off", "on")
        action = "person.keys_off" if off else "person.keys_on"
        record(action, actor=actor, details=changed(before=ways[0], after=ways[1]))


def _in_words(moved: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {place}" for name, place in sorted(moved.items())) or "as delivered"
