"""Who may change connections: an admin of everything adds and removes, an admin of one changes it."""

from mirror.errors import ActNotAllowed
from mirror.models import Connection
from people.actors import Actor, Role


def may_add(actor: Actor) -> bool:
    """Whether the actor may add connections, and remove them."""
    return any(s.role is Role.ADMIN and s.connection is None and s.mailbox is None for s in actor.scopes)


def may_change(actor: Actor, connection: Connection) -> bool:
    """Whether the actor may change this connection: an admin of all of it."""
    return actor.is_a(Role.ADMIN, connection=connection.pk, mailbox=None)


def check_may_add(actor: Actor) -> None:
    """Raise ActNotAllowed for everybody else."""
    if not may_add(actor):
        raise ActNotAllowed("Only an admin of everything can add or remove connections.")


def check_may_change(actor: Actor, connection: Connection) -> None:
    """Raise ActNotAllowed for everybody else, and for a connection that is at work no more."""
    if connection.removed_at:
        raise ActNotAllowed(f"{connection} was removed; only its history is left.")
    if not may_change(actor, connection):
        raise ActNotAllowed("Only an admin of this connection can change it.")


def lock(connection: Connection, actor: Actor) -> Connection:
    """Lock a connection that the actor may change, and return it as it is now. Raises ActNotAllowed."""
    locked = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
    check_may_change(actor, locked)
    return locked
