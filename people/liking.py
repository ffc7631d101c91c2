"""How a person likes the desk to be. It changes nothing but what that person sees."""

from audit.recording import record
from common.postgres.anew import atomic_anew
from people.actors import Actor
from people.models import Person


@atomic_anew
def put_text_first(*, actor: Actor, wanted: bool) -> None:
    """Let the actor's letters open as text, or laid out; recorded where that changes something."""
    changed = Person.objects.filter(pk=int(actor.id)).exclude(text_first=wanted).update(text_first=wanted)
    if changed:
        record("person.reads_text_first" if wanted else "person.reads_laid_out", actor=actor)
