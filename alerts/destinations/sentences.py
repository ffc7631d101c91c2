"""Routes as sentences: who is told of what, from where."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alerts.events import EVENTS, Event, event_of
from alerts.models import Route
from mirror.models import Connection, Mailbox
from people.actors import Actor


@dataclass(frozen=True)
class Reach:
    """The connections and mailboxes whose names somebody may read."""

    connections: frozenset[int]
    mailboxes: frozenset[int]

    def has(self, route: Route) -> bool:
        """Whether they may read where this route's events must happen."""
        if route.mailbox_id is not None:
            return route.mailbox_id in self.mailboxes
        return route.connection_id is None or route.connection_id in self.connections


def reach_of(actor: Actor) -> Reach | None:
    """Return how far the actor sees; nothing for whoever sees all."""
    if actor.sees_all():
        return None
    connections = Connection.objects.visible_to(actor).values_list("pk", flat=True)
    mailboxes = Mailbox.objects.visible_to(actor).values_list("pk", flat=True)
    return Reach(frozenset(connections), frozenset(mailboxes))


def events_of(actions: Iterable[str]) -> list[Event]:
    """Return the events that these acts mean, in the order in which the desk names them."""
    meant = {event.name for event in map(event_of, actions) if event is not None}
    return [event for event in EVENTS if event.name in meant]


def sentence(route: Route, *, reach: Reach | None = None) -> str:
    """Return what stands behind “is told when”, for whoever sees all, or as far as somebody's reach goes.

    Relies on `connection` and `mailbox` being there.
    """
    told = listed([event.words for event in events_of(route.actions)])
    # What routes of earlier versions held, and no event means.
    rest = [action for action in route.actions if event_of(action) is None]
    told = told or listed([action.replace(".", " ").replace("_", " ") for action in rest]) or "nothing happens"
    if reach is not None and not reach.has(route):
        return f"{told}, in a place that you do not look after"
    return f"{told}, {place_of(route)}"


def place_of(route: Route) -> str:
    """Return where it must happen, in words."""
    if route.mailbox is not None:
        return f"in the mailbox {route.mailbox}"
    if route.connection is not None:
        return f"in {route.connection}"
    return "in all connections"


def listed(words: Sequence[str]) -> str:
    """Return these as one part of a sentence: a, b or c."""
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
