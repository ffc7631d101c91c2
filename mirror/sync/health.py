"""The health of a connection (failing, recovered, paused), and how complete the queue
is because of it.

Each change of a connection's health is recorded once. "Complete as of" is green, amber
after 2 minutes, red after 10.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models.functions import Coalesce, Greatest, Now

from audit.recording import record
from common.actors import Actor, worker
from common.grace import STALE_AFTER
from mirror.models import Connection
from upstream import errors

log = logging.getLogger(__name__)

ACTOR = worker("sync")


@transaction.atomic
def note_failure(connection: Connection, sentence: str) -> None:
    """Record that it could not be read: from now on it is only probed until a whole
    read works.
    """
    mine = Connection.objects.filter(pk=connection.pk)
    began = mine.filter(failing_since=None).update(failing_since=Now())
    mine.exclude(last_error=sentence).update(last_error=sentence)
    if began:
        record(
            "connection.failing",
            ACTOR,
            connection=connection.pk,
            details={"explanation": sentence},
        )
        log.warning(
            "MultiMail unreachable",
            extra={"connection": connection.slug, "reason": sentence},
        )


@transaction.atomic
def note_recovery(connection: Connection, *, began: datetime) -> None:
    """Record that a whole read worked, and end a pause that began before the read.

    A pause by a person stays.
    """
    mine = Connection.objects.filter(pk=connection.pk)
    still_paused = (
        mine.filter(paused_by_hand=True)
        .exclude(failing_since=None)
        .update(failing_since=None, last_error="")
    )
    unwell = mine.filter(paused_by_hand=False).exclude(
        failing_since=None, paused_at=None
    )
    well = unwell.exclude(paused_at__gte=began).update(
        failing_since=None, last_error="", paused_at=None, paused_because=""
    )
    if still_paused or well:
        record("connection.recovered", ACTOR, connection=connection.pk)


def wait(connection: Connection, error: errors.UpstreamError) -> None:
    """Make the whole connection wait where this is a 429; a shorter wait never ends a
    longer one.
    """
    if not isinstance(error, errors.Throttled):
        return
    until = Now() + timedelta(seconds=error.retry_after)
    Connection.objects.filter(pk=connection.pk).update(
        wait_until=Greatest(Coalesce("wait_until", until), until)
    )


def note_unread(connection: Connection, what: str, error: errors.UpstreamError) -> None:
    """Log that something beside the held messages could not be read, and wait where
    MultiMail asked for that.
    """
    wait(connection, error)
    log.warning(
        f"{what} not read",
        extra={"connection": connection.slug, "reason": error.sentence},
    )


def pause_after(tries: int, *, first: int, factor: int) -> timedelta:
    """Return how long one file or thread waits after so many failed tries: from `first`
    seconds to an hour.
    """
    return timedelta(seconds=min(first * factor ** min(max(tries - 1, 0), 10), 3600))


@transaction.atomic
def pause(connection: Connection, because: str, *, actor: Actor = ACTOR) -> None:
    """Pause the connection: no decision is sent through it until a whole read works
    again.
    """
    going = Connection.objects.filter(pk=connection.pk, paused_at=None)
    if going.update(paused_at=Now(), paused_because=because):
        record(
            "connection.paused",
            actor,
            connection=connection.pk,
            details={"explanation": because},
        )
        log.warning(
            "connection paused",
            extra={"connection": connection.slug, "reason": because},
        )


AMBER_AFTER = timedelta(minutes=2)
# The fields that `freshness_of` reads.
_JUDGED = (
    "name",
    "complete_as_of",
    "paused_at",
    "paused_because",
    "failing_since",
    "last_error",
)


@dataclass(frozen=True)
class Freshness:
    """`level` is green, amber or red; `as_of` is None while nothing was read yet."""

    level: str
    as_of: datetime | None
    reason: str = ""


def freshness_for(actor: Actor) -> Freshness:
    """Return how complete the part of the queue is that the actor sees: the worst of
    its connections.

    By the database's clock, as reads are: a host's wrong clock must not show stale data
    as green.
    """
    seen = (
        Connection.objects.at_work()
        .visible_to(actor)
        .only(*_JUDGED)
        .annotate(clock=Now())
    )
    judged = [freshness_of(one, now=one.clock) for one in seen]  # type: ignore[attr-defined]
    if not judged:
        return Freshness("amber", None, "No MultiMail account is connected yet.")
    worst = ("red", "amber", "green")
    return min(
        judged,
        key=lambda one: (
            worst.index(one.level),
            one.as_of or datetime.min.replace(tzinfo=UTC),
        ),
    )


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
        return Freshness(
            level, None, reason or f"{connection.name} has not been read yet."
        )
    old = f"{connection.name} was last read {int((now - as_of).total_seconds() // 60)} minutes ago."
    if connection.paused_at or now - as_of > STALE_AFTER:
        return Freshness("red", as_of, reason or old)
    if now - as_of > AMBER_AFTER or connection.failing_since:
        return Freshness("amber", as_of, reason or old)
    return Freshness("green", as_of)
