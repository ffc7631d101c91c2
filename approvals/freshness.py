"""How complete the queue is: "complete as of", green, amber after 2 minutes, red after 10, with the reason."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from approvals.models import Connection
from people.actors import Actor

AMBER_AFTER = timedelta(minutes=2)
RED_AFTER = timedelta(minutes=10)


@dataclass(frozen=True)
class Freshness:
    """`level` is green, amber or red; `as_of` is None while nothing was read yet."""

    level: str
    as_of: datetime | None
    reason: str = ""


def freshness_for(actor: Actor, *, now: datetime) -> Freshness:
    """Return how complete the part of the queue is that the actor sees: the worst of its connections."""
    judged = [freshness_of(connection, now=now) for connection in Connection.objects.visible_to(actor)]
    if not judged:
        return Freshness("amber", None, "No MultiMail account is connected yet.")
    worst = ("red", "amber", "green")
    return min(judged, key=lambda one: (worst.index(one.level), one.as_of or datetime.min.replace(tzinfo=now.tzinfo)))


def freshness_of(connection: Connection, *, now: datetime) -> Freshness:
    """Return how complete one connection's part of the queue is."""
    as_of = connection.complete_as_of
    reason = ""
    if connection.paused_at:
        reason = f"{connection.name} is paused: {connection.paused_because}"
    elif connection.failing_since:
        reason = f"{connection.name}: {connection.last_error}"
    if connection.paused_at or as_of is None or now - as_of > RED_AFTER:
        level = "red" if as_of or connection.paused_at else "amber"
        return Freshness(level, as_of, reason or f"{connection.name} has not been read yet.")
    if now - as_of > AMBER_AFTER or connection.failing_since:
        return Freshness(
            "amber",
            as_of,
            reason or f"{connection.name} was read {int((now - as_of).total_seconds() // 60)} minutes ago.",
        )
    return Freshness("green", as_of)
