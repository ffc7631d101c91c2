"""Routes as sentences: who is told of what, from where."""

from collections.abc import Iterable, Sequence

from alerts.events import EVENTS, Event, event_of
from alerts.models import Route


def events_of(actions: Iterable[str]) -> list[Event]:
    """Return the events that these acts mean, in the order in which the desk names them."""
    meant = {event.name for event in map(event_of, actions) if event is not None}
    return [event for event in EVENTS if event.name in meant]


def sentence(route: Route) -> str:
    """Return what stands behind “is told when”. Relies on `connection` and `mailbox` being there."""
    told = listed([event.words for event in events_of(route.actions)])
    # What routes of earlier versions held, and no event means.
    rest = [action for action in route.actions if event_of(action) is None]
    told = told or listed([action.replace(".", " ").replace("_", " ") for action in rest]) or "nothing happens"
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
