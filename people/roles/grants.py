"""Grants and revokes roles. Changes are serialized, and each is checked against the
roles of that moment.

A person who loses a role has to sign in again, and the last admin of everything cannot
be removed.
"""

from dataclasses import replace
from typing import Any

from django.urls import reverse

from audit.recording import record
from common.actors import Actor, Role
from common.postgres.retry import atomic_with_retry
from people.errors import LastAdmin, NotYours
from people.models import Grant, Person
from people.roles.targets import (
    GrantTarget,
    all_targets,
    grants_of,
    has_admin_beyond,
    in_words,
    is_admin_of,
    is_covered_by,
    role_words,
    target_of,
)
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from people.sign_in.sessions import access_changed, end_sessions


@atomic_with_retry
@second_admin("Role")
def give_role(
    *, actor: Actor, person_id: int, role: Role, target: GrantTarget
) -> CanWait[bool]:
    """Grant a person a role for a target that the actor is an admin of; False if they
    have it already.

    Nobody grants themselves one. Raises NotYours.
    """
    now, person = lock_for(actor, person_id)
    if is_self(now, person):
        raise NotYours("You cannot give yourself a role. Ask another admin.")
    _check_admin_of(now, target)
    _check_not_above(now, person)
    if target.value not in all_targets():
        raise NotYours("The connection or mailbox of this role is no longer there.")
    before = in_words(grants_of(person))
    new = role_words(role.value, target.name)
    yield lambda: ChangeInWords(
        title=f"{person}: give the role {new}",
        before=before,
        after=new if before == in_words([]) else f"{before}, {new}",
        page=reverse("person", args=[person_id]),
        connection=target.connection,
        mailbox=target.mailbox,
        about=person_id,
        tightens=person.grants.filter(role=role, **_where(target)).exists(),
    )
    is_new = add_grant(person, role, target)
    if is_new:
        _record(now, person, before)
        access_changed.send(sender=Person, person=person.pk)
    return is_new


@atomic_with_retry
def take_role(*, actor: Actor, person_id: int, grant_id: int) -> bool:
    """Revoke a role and end the person's sessions; False if they no longer had it."""
    now, person = lock_for(actor, person_id)
    grant = (
        person.grants.select_related("connection", "mailbox")
        .filter(pk=grant_id)
        .first()
    )
    if grant is None:
        return False
    target = target_of(grant)
    _check_admin_of(now, target)
    if not is_self(now, person):
        _check_not_above(now, person)
    if grant.role == Role.ADMIN and target.connection is None:
        check_admin_left(without=person)
    before = in_words(grants_of(person))
    grant.delete()
    end_sessions(person)
    _record(now, person, before)
    return True


def add_grant(person: Person, role: Role, target: GrantTarget) -> bool:
    """Store a grant in the caller's transaction; False if it exists already."""
    _, is_new = Grant.objects.get_or_create(person=person, role=role, **_where(target))
    return is_new


def _where(target: GrantTarget) -> dict[str, Any]:
    # A grant for a mailbox must not store the connection: it would be a grant for the
    # whole connection.
    return {
        "connection_id": None if target.mailbox else target.connection,
        "mailbox_id": target.mailbox,
    }


def is_self(actor: Actor, person: Person) -> bool:
    """Whether the actor is this person."""
    return actor.kind == "person" and actor.id == str(person.pk)


def key_of(actor: Actor) -> int | None:
    """Return the key of the actor, where that is a person."""
    return int(actor.id) if actor.kind == "person" else None


def lock_people(*keys: int | None) -> None:
    """Lock these people and all admins of everything, in the order of their keys, for
    the rest of the transaction.

    So of two changes of admins, the second sees the result of the first. FOR NO KEY
    UPDATE is enough: rows that point to people need not wait.
    """
    wanted_keys = set(Person.objects.admins_of_all().values_list("pk", flat=True))
    wanted_keys |= {key for key in keys if key is not None}
    wanted = Person.objects.filter(pk__in=wanted_keys).order_by("pk")
    list(
        wanted.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True)
    )


def lock_actor(actor: Actor, *also: int) -> Actor:
    """Lock the actor and other people, and return the actor with the roles of this
    moment.
    """
    key = key_of(actor)
    lock_people(*also, key)
    if key is None:
        return actor
    person = Person.objects.filter(pk=key).first()
    if person is None:
        raise NotYours("Your own roles have changed. Reload the page.")
    now = person.actor(surface=actor.surface, address=actor.address)
    return replace(now, proof=actor.proof, second=actor.second)


def lock_for(actor: Actor, person_id: int) -> tuple[Actor, Person]:
    """Lock the actor and a person that they may see, and return the current state of
    both.
    """
    now = lock_actor(actor, person_id)
    person = Person.objects.read_by(now).filter(pk=person_id).first()
    if person:
        return now, person
    raise NotYours("There is no such person, or you do not manage them.")


def check_covers(actor: Actor, person: Person) -> None:
    """Raise NotYours unless the actor is an admin of every target of the person's
    roles.
    """
    if not is_covered_by(actor, grants_of(person)):
        raise NotYours(
            f"{person} has roles that you do not manage. An admin of all of them can do this."
        )


def check_admin_left(without: Person) -> None:
    """Raise LastAdmin if nobody else is an admin of everything; the admins are locked."""
    if is_last_admin(without):
        raise LastAdmin(
            f"{without} is the last admin of everything. Make somebody else an admin first."
        )


def is_last_admin(person: Person) -> bool:
    """Whether a person is an admin of everything and nobody else is."""
    return list(Person.objects.admins_of_all().values_list("pk", flat=True)[:2]) == [
        person.pk
    ]


def _check_admin_of(actor: Actor, target: GrantTarget) -> None:
    if not is_admin_of(actor, target):
        raise NotYours(f"Only an admin of {target.name} can give or take roles there.")


def _check_not_above(actor: Actor, person: Person) -> None:
    if has_admin_beyond(actor, grants_of(person)):
        raise NotYours(
            f"{person} manages more than you do. An admin of everything can change their roles."
        )


def _record(actor: Actor, person: Person, before: str) -> None:
    details = {
        "person": str(person),
        "email": person.email,
        "before": before,
        "after": in_words(grants_of(person)),
    }
    record("person.grants_changed", actor=actor, details=details, about=person)
