"""Targets of roles: everything, a connection or a mailbox; and who may grant and revoke
roles for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from common.actors import ROLE_CHOICES, Actor, Role, Scope
from mirror.models import Connection, Mailbox
from people.models import Grant, Person

# Descriptions of the roles, for the form that grants one.
ROLE_MEANINGS = {
    Role.REVIEWER: "reads and decides waiting messages",
    Role.ADMIN: "sets up connections, mailboxes, allowlists and people",
    Role.AUDITOR: "reads everything and decides nothing",
}
ROLES_TO_GIVE = [
    (value, label, ROLE_MEANINGS[Role(value)]) for value, label in ROLE_CHOICES
]


@dataclass(frozen=True)
class GrantTarget:
    """A role's target: everything, one connection, or one mailbox with its connection."""

    connection: int | None = None
    mailbox: int | None = None
    name: str = "everything"

    @property
    def value(self) -> str:
        """The target's value in a form."""
        if self.mailbox is not None:
            return f"mailbox-{self.mailbox}"
        return "all" if self.connection is None else f"connection-{self.connection}"

    @property
    def label(self) -> str:
        """The target's label in a form."""
        kind = "Mailbox" if self.mailbox is not None else "Connection"
        return "Everything" if self.connection is None else f"{kind} {self.name}"

    def is_within(self, scope: Scope) -> bool:
        """Whether a role of this scope includes the whole target."""
        if self.connection is None:
            return scope.is_everywhere
        return scope.reaches(connection=self.connection, mailbox=self.mailbox)


def target_of(grant: Grant) -> GrantTarget:
    """Return a grant's target; its connection and mailbox must be prefetched with
    select_related.
    """
    mailbox = grant.mailbox
    if mailbox is not None:
        return GrantTarget(mailbox.connection_id, mailbox.pk, str(mailbox))
    if grant.connection is not None:
        return GrantTarget(grant.connection_id, name=str(grant.connection))
    return GrantTarget()


def all_targets() -> dict[str, GrantTarget]:
    """Return every target by its form value, in two queries, without removed
    connections.
    """
    live = Connection.objects.filter(removed_at=None).order_by("name", "pk")
    mailboxes = Mailbox.objects.filter(connection__in=live).order_by("address", "pk")
    targets = [
        GrantTarget(),
        *(GrantTarget(one.pk, name=str(one)) for one in live),
        *(GrantTarget(one.connection_id, one.pk, str(one)) for one in mailboxes),
    ]
    return {target.value: target for target in targets}


def is_admin_of(actor: Actor, target: GrantTarget) -> bool:
    """Whether the actor is an admin of the whole target."""
    return any(
        scope.role is Role.ADMIN and target.is_within(scope) for scope in actor.scopes
    )


def targets_to_give(actor: Actor) -> dict[str, GrantTarget]:
    """Return the targets for which the actor may grant and revoke roles."""
    return {
        value: target
        for value, target in all_targets().items()
        if is_admin_of(actor, target)
    }


def common_target(targets: Iterable[GrantTarget]) -> GrantTarget:
    """Return the narrowest target that includes all of these; without any, everything."""
    found = set(targets)
    if len(found) == 1:
        return found.pop()
    connections = {one.connection for one in found}
    return GrantTarget(connections.pop() if len(connections) == 1 else None)


def widest_first(grants: Iterable[Grant]) -> list[Grant]:
    """Sort grants as pages show them: for everything, for connections, for mailboxes."""
    return sorted(
        grants, key=lambda one: (one.mailbox_id or 0, one.connection_id or 0, one.role)
    )


def grants_of(person: Person) -> list[Grant]:
    """Return a person's grants with their targets, the widest first."""
    return widest_first(person.grants.select_related("connection", "mailbox"))


def is_covered_by(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Whether the actor is an admin of every target of these grants; without grants,
    whether of everything.
    """
    targets = [target_of(grant) for grant in grants] or [GrantTarget()]
    return all(is_admin_of(actor, target) for target in targets)


def has_admin_beyond(actor: Actor, grants: Iterable[Grant]) -> bool:
    """Whether one of these is an admin grant for a target that the actor is not an
    admin of.
    """
    return any(
        grant.role == Role.ADMIN and not is_admin_of(actor, target_of(grant))
        for grant in grants
    )


def role_words(role: str, target_name: str) -> str:
    """Return a role and its target in words: "reviewer of everything"."""
    return f"{role} of {target_name}"


def in_words(grants: Iterable[Grant]) -> str:
    """Describe grants in one line, for the ledger and for pages."""
    words = [role_words(one.role, target_of(one).name) for one in grants]
    return ", ".join(words) or "no role"


class GrantTargetForm(forms.Form):
    """A form whose field `place` is one of the targets that the actor may grant roles
    for.
    """

    def __init__(
        self, *args: Any, targets: Mapping[str, GrantTarget], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._targets = targets

    def clean_place(self) -> GrantTarget:
        value = self.cleaned_data["place"]
        if value not in self._targets:
            raise forms.ValidationError("Choose a scope that you manage.")
        return self._targets[value]
