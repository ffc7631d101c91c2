"""Which allowlist an address of the desk means: `all`, `connection-3` or `mailbox-7`, and its kind."""

import re
from dataclasses import dataclass

from django.urls import reverse

from mirror.models import Connection, Mailbox
from people.actors import Actor
from policy.allowlists.changes import may_change
from policy.allowlists.judgement import Place
from policy.models import Allowlist

ALL = "all"
_SCOPE = re.compile(r"(connection|mailbox)-([0-9]{1,18})")


@dataclass(frozen=True)
class ListAt:
    """One list, whether or not it was ever written. `row` is None until then."""

    place: Place
    kind: str
    label: str
    row: Allowlist | None

    @property
    def scope(self) -> str:
        """How an address names its place."""
        return scope_of(self.place)

    @property
    def mode(self) -> str:
        """Its mode; off until it was written."""
        return self.row.mode if self.row else str(Allowlist.Mode.OFF)

    @property
    def version(self) -> int:
        """The version that a change is made to."""
        return self.row.version if self.row else 0

    @property
    def is_bypass(self) -> bool:
        """Whether it says whose mail need not wait, and not who may be written to."""
        return self.kind == Allowlist.Kind.BYPASS

    @property
    def url(self) -> str:
        """The address of its page."""
        return reverse("allowlist", args=[self.scope, self.kind])

    def may_change(self, actor: Actor) -> bool:
        """Whether the actor may change it."""
        return may_change(actor, self.place)


def scope_of(place: Place) -> str:
    """Return how an address names a place."""
    if place.mailbox is not None:
        return f"mailbox-{place.mailbox}"
    return ALL if place.connection is None else f"connection-{place.connection}"


def place_of(row: Allowlist) -> Place:
    """Return the place of a list."""
    return Place(connection=row.connection_id, mailbox=row.mailbox_id)


def list_of(row: Allowlist) -> ListAt:
    """Return a written list; its connection and mailbox are at hand."""
    return ListAt(place_of(row), row.kind, str(row.mailbox or row.connection or "all mail"), row)


def list_at(scope: str, kind: str, actor: Actor) -> ListAt | None:
    """Return the list that an address names; None where there can be none, or the actor does not see its place."""
    if kind not in Allowlist.Kind.values:
        return None
    found = _visible_place(scope, actor)
    if found is None:
        return None
    place, label = found
    row = Allowlist.objects.at(connection=place.connection, mailbox=place.mailbox, kind=kind).first()
    return ListAt(place, kind, label, row)


def _visible_place(scope: str, actor: Actor) -> tuple[Place, str] | None:
    if scope == ALL:
        # It holds for every mailbox, so whoever sees one may know it.
        return (Place(), "all mail") if actor.scopes else None
    named = _SCOPE.fullmatch(scope)
    if named is None:
        return None
    key = int(named[2])
    if named[1] == "connection":
        connection = Connection.objects.visible_to(actor).filter(pk=key).first()
        return (Place(connection=key), str(connection)) if connection else None
    mailbox = Mailbox.objects.visible_to(actor).filter(pk=key).first()
    return (Place(mailbox=key), str(mailbox)) if mailbox else None
