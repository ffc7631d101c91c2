"""Places that a role can be for, and who may give or take a role there. Names come by the caller's reach only.

Connections and mailboxes belong to another app, above this one: they are asked for by name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps

from people.actors import Actor, Role, Scope
from people.models import Grant, Person


@dataclass(frozen=True)
class Place:
    """What a role is for: everything, one connection, or one mailbox, whose connection is told as well."""

    connection: int | None = None
    mailbox: int | None = None
    name: str = "everything"

    @property
    def value(self) -> str:
        """How a form calls it."""
        if self.mailbox is not None:
            return f"mailbox-{self.mailbox}"
        return "all" if self.connection is None else f"connection-{self.connection}"

    @property
    def label(self) -> str:
        """What a person chooses by."""
        kind = "Mailbox" if self.mailbox is not None else "Connection"
        return "Everything" if self.connection is None else f"{kind} {self.name}"

    def is_reached_by(self, scope: Scope) -> bool:
        """Whether a role of this scope includes the whole place."""
        if self.connection is None:
            return scope.connection is None and scope.mailbox is None
        return scope.reaches(connection=self.connection, mailbox=self.mailbox)


def place_of(grant: Grant) -> Place:
    """Return where a role is for; its mailbox must have been read with it."""
    if grant.mailbox is not None:
        return Place(connection=grant.mailbox.connection_id, mailbox=grant.mailbox_id, name=str(grant.mailbox))
    if grant.connection is not None:
        return Place(connection=grant.connection_id, name=str(grant.connection))
    return Place()


def all_places() -> dict[str, Place]:
    """Return every place there is, by how a form calls it, in two queries; connections that were removed are none."""
    known: Any = apps.get_model("mirror", "Connection")._default_manager
    mailboxes: Any = apps.get_model("mirror", "Mailbox")._default_manager
    live = known.filter(removed_at=None).order_by("name", "pk")
    places = [Place(), *(Place(connection=one.pk, name=str(one)) for one in live)]
    places += [
        Place(connection=one.connection_id, mailbox=one.pk, name=str(one))
        for one in mailboxes.filter(connection__in=live).order_by("address", "pk")
    ]
    return {place.value: place for place in places}


def is_admin_of(actor: Actor, place: Place) -> bool:
    """Whether the actor looks after the whole of a place."""
    return any(scope.role is Role.ADMIN and place.is_reached_by(scope) for scope in actor.scopes)


def is_admin_of_all(actor: Actor) -> bool:
    """Whether the actor looks after everything."""
    return is_admin_of(actor, Place())


def places_to_give(actor: Actor) -> dict[str, Place]:
    """Return the places for which the actor may give and take roles."""
    return {value: place for value, place in all_places().items() if is_admin_of(actor, place)}


def grants_of(person: Person) -> list[Grant]:
    """Return a person's roles with their places, the widest first."""
    grants = person.grants.select_related("connection", "mailbox")
    return sorted(grants, key=lambda one: (one.mailbox_id or 0, one.connection_id or 0, one.role))


def is_covered_by(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Whether the actor looks after everything that somebody with these roles has."""
    found = list(grants)
    if not found:
        return is_admin_of_all(actor)
    return all(is_admin_of(actor, place_of(grant)) for grant in found)


def has_admin_beyond(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Whether somebody with these roles looks after more than the actor does."""
    return any(grant.role == Role.ADMIN and not is_admin_of(actor, place_of(grant)) for grant in grants)


def role_words(role: str, place_name: str) -> str:
    """Return a role and its place as people say it: "reviewer of everything"."""
    return f"{role} of {place_name}"


def in_words(grants: Iterable[Grant]) -> str:
    """Return roles as one line, for the ledger and for pages."""
    return ", ".join(role_words(one.role, place_of(one).name) for one in grants) or "no role"


def kept_grants(roles: Iterable[tuple[Role, Place]]) -> list[dict[str, Any]]:
    """Return roles as an invitation keeps them."""
    return [{"role": role.value, "connection": place.connection, "mailbox": place.mailbox} for role, place in roles]


def grants_kept(
    kept: Iterable[Mapping[str, Any]], places: Mapping[str, Place] | None = None
) -> list[tuple[Role, Place]]:
    """Return the roles that an invitation kept, of places that still exist; whoever reads many asks for those once."""
    places = all_places() if places is None else places
    found = []
    for one in kept:
        wanted = Place(connection=one["connection"], mailbox=one["mailbox"])
        if place := places.get(wanted.value):
            found.append((Role(one["role"]), place))
    return found
