"""Returns which messages and connections an actor may see, for filtering entries.

The ledger stores only their keys, and may not import the app that has their tables.
That app registers functions here when Django starts.
"""

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from common.actors import Actor

Rows = Callable[[Actor], QuerySet[Any]]
_registered: dict[str, Rows] = {}


def register(*, messages: Rows, connections: Rows) -> None:
    """Register the functions that return the messages and connections an actor may see."""
    _registered["messages"] = messages
    _registered["connections"] = connections


def visible(what: str, actor: Actor) -> QuerySet[Any]:
    """Return the "messages" or the "connections" that the actor may see."""
    return _registered[what](actor)
