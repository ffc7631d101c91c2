"""Gives people roles and takes them. Whoever may less than before signs in anew."""

from typing import Any

from audit.recording import record
from common.postgres.anew import atomic_anew
from people.actors import Actor, Role
from people.errors import NotYours
from people.models import Grant, Person
from people.roles.places import Place, grants_of, in_words, is_admin_of, place_of
from people.sign_in.sessions import end_sessions, reach_changed
from people.standing import check_admin_left, check_not_above, lock_for


@atomic_anew
def give_role(*, actor: Actor, person_id: int, role: Role, place: Place) -> bool:
    """Give somebody a role for a place that the actor looks after; False where they have it already.

    Nobody gives themselves one.
    """
    now, person = lock_for(actor, person_id)
    if _is_self(now, person):
        raise NotYours("Nobody gives themselves a role. Ask another admin.")
    _check_gives(now, place)
    check_not_above(now, person)
    before = in_words(grants_of(person))
    is_new = add_grant(person, role, place)
    if is_new:
        _record(now, person, before)
        reach_changed.send(sender=Person, person=person.pk)
    return is_new


@atomic_anew
def take_role(*, actor: Actor, person_id: int, grant_id: int) -> bool:
    """Take a role from somebody, end their sessions, and return whether they still had it."""
    now, person = lock_for(actor, person_id)
    grant = person.grants.select_related("connection", "mailbox").filter(pk=grant_id).first()
    if grant is None:
        return False
    place = place_of(grant)
    _check_gives(now, place)
    if not _is_self(now, person):
        check_not_above(now, person)
    if grant.role == Role.ADMIN and place.connection is None:
        check_admin_left(without=person)
    before = in_words(grants_of(person))
    grant.delete()
    end_sessions(person)
    _record(now, person, before)
    return True


def add_grant(person: Person, role: Role, place: Place) -> bool:
    """Write a role down, in the transaction of the act that gives it; False where it is there already."""
    # Of a mailbox its connection is not written as well: it would be a role for the whole of it.
    where: dict[str, Any] = {"connection": place.connection, "mailbox": None}
    if place.mailbox is not None:
        where = {"connection": None, "mailbox": place.mailbox}
    fields = {f"{name}_id": value for name, value in where.items()}
    _, is_new = Grant.objects.get_or_create(person=person, role=role, **fields)
    return is_new


def _check_gives(actor: Actor, place: Place) -> None:
    if not is_admin_of(actor, place):
        raise NotYours(f"Only an admin of {place.name} can give or take roles there.")


def _is_self(actor: Actor, person: Person) -> bool:
    return actor.kind == "person" and actor.id == str(person.pk)


def _record(actor: Actor, person: Person, before: str) -> None:
    details = {"person": str(person), "email": person.email, "before": before, "after": in_words(grants_of(person))}
    record("person.grants_changed", actor=actor, details=details, about=person)
