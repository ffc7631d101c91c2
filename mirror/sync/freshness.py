"""How complete the queue is: "complete as of", green, amber after 2 minutes, red after 10, with the reason."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db.models.functions import Now

from common.grace import STALE_AFTER
from mirror.models import Connection
from people.actors import Actor, Scope

AMBER_AFTER = timedelta(minutes=2)
# What `freshness_of` looks at.
_JUDGED = ("name", "complete_as_of", "paused_at", "paused_because", "failing_since", "last_error")


@dataclass(frozen=True)
class Freshness:
    """`level` is green, amber or red; `as_of` is None while nothing was read yet."""

    level: str
    as_of: datetime | None
    reason: str = ""


def freshness_for(actor: Actor, *, now: datetime | None = None) -> Freshness:
    """Return how complete the part of the queue is that the actor sees: the worst of its connections.

    The time is the database's, by which reads are stamped too: a host whose clock is off must not paint anything green.
    """
    seen = Connection.objects.raw(*_seen_by(actor.scopes)) if actor.scopes else ()
    judged = [freshness_of(one, now=now or one.clock) for one in seen]  # type: ignore[attr-defined]
    if not judged:
        return Freshness("amber", None, "No MultiMail account is connected yet.")
    worst = ("red", "amber", "green")
    return min(judged, key=lambda one: (worst.index(one.level), one.as_of or datetime.min.replace(tzinfo=UTC)))


@lru_cache(maxsize=256)
def _seen_by(scopes: tuple[Scope, ...]) -> tuple[str, tuple[Any, ...]]:
    """The query of the connections, on every page: composing it takes longer than asking it.

    It may be kept because its time is PostgreSQL's now(), and what the actor sees is told by its scopes alone.
    """
    actor = Actor(kind="person", id="", label="", surface="", scopes=scopes)
    seen = Connection.objects.at_work().visible_to(actor).only(*_JUDGED).annotate(clock=Now())
    return seen.query.sql_with_params()


def freshness_of(connection: Connection, *, now: datetime) -> Freshness:
    """Return how complete one connection's part of the queue is."""
    as_of = connection.complete_as_of
    reason = ""
    if connection.paused_at:
        reason = f"{connection.name} is paused: {connection.paused_because}"
    elif connection.failing_since:
        reason = f"{connection.name}: {connection.last_error}"
    if as_of is None:
        level = "red" if connection.paused_at else "amber"
        return Freshness(level, None, reason or f"{connection.name} has not been read yet.")
    old = f"{connection.name} was last read {int((now - as_of).total_seconds() // 60)} minutes ago."
    if connection.paused_at or now - as_of > STALE_AFTER:
        return Freshness("red", as_of, reason or old)
    if now - as_of > AMBER_AFTER or connection.failing_since:
        return Freshness("amber", as_of, reason or old)
    return Freshness("green", as_of)
