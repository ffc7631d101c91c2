"""The frozen `Actor` that every command gets: who acts, and which roles they have for
which connections and mailboxes.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class Role(StrEnum):
    """A person's role: reviewers decide, admins configure, auditors read."""

    REVIEWER = "reviewer"
    ADMIN = "admin"
    AUDITOR = "auditor"


ROLE_CHOICES = [(role.value, role.value.title()) for role in Role]


@dataclass(frozen=True)
class Scope:
    """One role and where it applies; without connection and mailbox it applies
    everywhere.
    """

    role: Role
    connection: int | None = None
    mailbox: int | None = None

    @property
    def is_everywhere(self) -> bool:
        """Whether the role applies everywhere."""
        return self.connection is None and self.mailbox is None

    def reaches(self, *, connection: int | None, mailbox: int | None) -> bool:
        """Whether the scope includes this mailbox of this connection, or the whole
        connection; without both, everything.
        """
        if self.mailbox is not None:
            return self.mailbox == mailbox
        return self.connection is None or self.connection == connection


@dataclass(frozen=True)
class Actor:
    """Somebody or something that acts. `surface` is one of web, discord, slack,
    webhook, worker, command.
    """

    kind: str
    id: str
    label: str
    surface: str
    address: str = ""
    scopes: tuple[Scope, ...] = ()
    # Facts about this act that a signature proves, such as that of Discord, by name.
    # They are added to the details of each ledger entry of this actor.
    proof: tuple[tuple[str, str], ...] = ()
    # The key of the second admin who accepted what the actor does now
    # (people.second_admin).
    second: str = ""

    @property
    def person_id(self) -> int:
        """The key of the person who acts. Raises ValueError for all other actors."""
        return int(self.id)

    def is_a(self, role: Role, *, connection: int | None, mailbox: int | None) -> bool:
        """Whether the actor has `role` for this mailbox, or the whole connection;
        without both, for everything.
        """
        return any(
            s.role is role and s.reaches(connection=connection, mailbox=mailbox)
            for s in self.scopes
        )

    def has(self, role: Role) -> bool:
        """Whether the actor has `role` anywhere."""
        return any(scope.role is role for scope in self.scopes)

    @property
    def looks_after_people(self) -> bool:
        """Whether the actor may see the list of people: admins and auditors may, within
        their visible scope.
        """
        return self.has(Role.ADMIN) or self.has(Role.AUDITOR)

    @property
    def looks_after_accounts(self) -> bool:
        """Whether the actor is an admin of a whole connection, and so may see its API
        keys and webhooks.
        """
        return any(
            scope.role is Role.ADMIN and scope.mailbox is None for scope in self.scopes
        )

    @property
    def looks_after_policy(self) -> bool:
        """Whether the actor is an admin of anything, and so may see the changes that
        wait for a second admin.
        """
        return self.has(Role.ADMIN)

    @property
    def is_admin_of_all(self) -> bool:
        """Whether the actor is an admin of everything."""
        return Scope(Role.ADMIN) in self.scopes

    def acting_as(self, *roles: Role) -> "Actor":
        """Return the same actor with only these roles."""
        return replace(
            self, scopes=tuple(scope for scope in self.scopes if scope.role in roles)
        )

    def sees_all(self) -> bool:
        """Whether a role of the actor's applies everywhere."""
        return any(scope.is_everywhere for scope in self.scopes)


def worker(name: str) -> Actor:
    """Return the actor of a background job."""
    return Actor(kind="worker", id=name, label=f"the {name} worker", surface="worker")


def operator(command: str, *roles: Role) -> Actor:
    """Return the actor of a management command, with these roles everywhere."""
    return Actor(
        kind="command",
        id=command,
        label="an operator",
        surface="command",
        scopes=tuple(Scope(role) for role in roles),
    )


def rule(name: str) -> Actor:
    """Return the actor of a rule's decision, which a worker executes."""
    return Actor(kind="rule", id=name, label=f"the {name} rule", surface="worker")


def webhook(connection: str, *, surface: str = "webhook", address: str = "") -> Actor:
    """Return the actor for what MultiMail reports about a connection. `surface` says
    how that arrived; `address` is where a webhook came from.
    """
    return Actor(
        kind="webhook",
        id=connection,
        label=f"MultiMail ({connection})",
        surface=surface,
        address=address,
    )
