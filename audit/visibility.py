"""Which messages and connections a person may see: the app that has them says so when
Django starts.

The ledger stands below that app and keeps only their keys.
"""

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from common.actors import Actor

Rows = Callable[[Actor], QuerySet[Any]]
_registered: dict[str, Rows] = {}


def register(*, messages: Rows, connections: Rows) -> None:
    """Register what returns the messages and the connections that an actor may see."""
    _registered["messages"] = messages
    _registered["connections"] = connections


def visible_messages(actor: Actor) -> QuerySet[Any]:
    """Return the messages that the actor may see."""
    return _registered["messages"](actor)


def visible_connections(actor: Actor) -> QuerySet[Any]:
    """Return the connections that the actor may see."""
    return _registered["connections"](actor)
