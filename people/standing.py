"""What stands when roles change: one change after the other, judged by the roles of that moment, and an admin left."""

from people.actors import Actor
from people.errors import LastAdmin, NotYours
from people.models import Person
from people.roles.places import grants_of, has_admin_beyond, is_covered_by

GONE = "Your own roles have changed. Reload the page and see what you may do now."


def lock_people(*keys: int) -> None:
    """Lock these people and all admins of everything, in the order of their keys, for the rest of the transaction.

    So of two changes that concern who looks after the desk, the second sees what the first has left. Without the
    key: rows that point to people need not wait.
    """
    admins = list(Person.objects.admins_of_all().values_list("pk", flat=True))
    wanted = Person.objects.filter(pk__in={*keys, *admins}).order_by("pk")
    list(wanted.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))


def actor_now(actor: Actor) -> Actor:
    """Return the actor with the roles of this moment: those it came with may have been taken while it waited."""
    if actor.kind != "person":
        return actor
    person = Person.objects.filter(pk=int(actor.id)).first()
    if person is None:
        raise NotYours(GONE)
    return person.actor(surface=actor.surface, address=actor.address)


def lock_for(actor: Actor, person_id: int) -> tuple[Actor, Person]:
    """Lock a person whom the actor may read of, and return both as they are now."""
    lock_people(person_id, *([int(actor.id)] if actor.kind == "person" else []))
    now = actor_now(actor)
    person = Person.objects.read_by(now).filter(pk=person_id).first()
    if person is None:
        raise NotYours("There is no such person, or you do not look after them.")
    return now, person


def check_covers(actor: Actor, person: Person) -> None:
    """Raise NotYours unless the actor looks after all that the person has a role for."""
    if not is_covered_by(actor, grants_of(person)):
        raise NotYours(f"{person} has roles that you do not look after. An admin of all of them can do this.")


def check_not_above(actor: Actor, person: Person) -> None:
    """Raise NotYours where the person looks after more than the actor."""
    if has_admin_beyond(actor, grants_of(person)):
        raise NotYours(f"{person} looks after more than you do. An admin of everything can change their roles.")


def check_admin_left(without: Person) -> None:
    """Raise LastAdmin where nobody else looks after everything. The admins must be locked."""
    if is_last_admin(without):
        raise LastAdmin(
            f"{without} is the last admin of everything. Make somebody else one first, or nobody could let people in."
        )


def is_last_admin(person: Person) -> bool:
    """Whether a person looks after everything and nobody else does."""
    return list(Person.objects.admins_of_all().values_list("pk", flat=True)[:2]) == [person.pk]
