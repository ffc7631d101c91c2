"""Who may say where alerts go."""

from alerts.errors import DestinationNotAllowed
from people.actors import Actor, Role


def may_manage(actor: Actor) -> bool:
    """Whether the actor may say where alerts go."""
    return actor.acting_as(Role.ADMIN).sees_all()


def check_may_manage(actor: Actor) -> None:
    """Raise DestinationNotAllowed for whoever may not say where alerts go."""
    if not may_manage(actor):
        raise DestinationNotAllowed("Only an admin of everything can say where alerts go: they tell of all mail.")
