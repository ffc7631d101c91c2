"""The health of connections: notes that one fails, recovers, is paused or must wait.
Also says how up to date the queue is because of that: green, amber if the last complete
read is more than 2 minutes old, red after 10; later where a list takes long to read.

Each change of a connection's health is recorded once.
"""

import logging
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models.functions import Coalesce, Greatest, Now

from common.actors import Actor, worker
from common.grace import STALE_AFTER
from common.time_zones import time_of_day
from mirror.models import Connection
from mirror.recording import record_of_connection
from upstream import errors

log = logging.getLogger(__name__)

ACTOR = worker("sync")


@transaction.atomic
def note_failure(connection: Connection, sentence: str) -> None:
    """Record that a connection could not be read. From now on it is only probed, until
    a complete read works.
    """
    row = connection.row
    is_new = row.filter(failing_since=None).update(failing_since=Now())
    row.exclude(last_error=sentence).update(last_error=sentence)
    if is_new:
        record_of_connection(
            "connection.failing", connection, ACTOR, explanation=sentence
        )
        log.warning(
            "MultiMail unreachable",
            extra={"connection": connection.slug, "reason": sentence},
        )


@transaction.atomic
def note_recovery(connection: Connection, *, began: datetime) -> None:
    """Record that a complete read, which `began` at this time, worked: the connection
    is not failing any more. A pause that began before the read ends, but not one that a
    person made.
    """
    paused = connection.row.filter(paused_by_hand=True).exclude(failing_since=None)
    still_paused = paused.update(failing_since=None, last_error="")
    unwell = connection.row.filter(paused_by_hand=False).exclude(
        failing_since=None, paused_at=None
    )
    recovered = unwell.exclude(paused_at__gte=began).update(
        failing_since=None, last_error="", paused_at=None, paused_because=""
    )
    if still_paused or recovered:
        record_of_connection("connection.recovered", connection, ACTOR)


def wait(connection: Connection, error: errors.UpstreamError) -> None:
    """If the error is a 429, make the whole connection wait as long as it says. A wait
    that ends later stays.
    """
    if not isinstance(error, errors.Throttled):
        return
    until = Now() + timedelta(seconds=error.retry_after)
    connection.row.update(wait_until=Greatest(Coalesce("wait_until", until), until))


def note_unread(connection: Connection, what: str, error: errors.UpstreamError) -> None:
    """Log that something other than the held messages could not be read, and wait if
    MultiMail asked for it.
    """
    wait(connection, error)
    log.warning(
        f"{what} not read",
        extra={"connection": connection.slug, "reason": error.sentence},
    )


def pause_after(tries: int, *, first: int, factor: int) -> timedelta:
    """Return how long a file or thread waits after so many failed tries: `first`
    seconds after the first one, then `factor` times as long each time, an hour at most;
    and up to half as long again at random, so that not all come back together.
    """
    seconds = min(first * factor ** min(max(tries - 1, 0), 10), 3600)
    return timedelta(seconds=seconds * random.uniform(1, 1.5))


@transaction.atomic
def pause(connection: Connection, because: str, *, actor: Actor = ACTOR) -> None:
    """Pause a connection: no decision is sent through it until a complete read works
    again.
    """
    not_paused = connection.row.filter(paused_at=None)
    if not_paused.update(paused_at=Now(), paused_because=because):
        record_of_connection(
            "connection.paused", connection, actor, explanation=because
        )
        log.warning(
            "connection paused",
            extra={"connection": connection.slug, "reason": because},
        )


# How old the last complete read may be until the queue is shown in amber.
AMBER_AFTER = timedelta(minutes=2)
# The fields that `freshness_of` reads.
_JUDGED = (
    "name",
    "complete_as_of",
    "paused_at",
    "paused_because",
    "failing_since",
    "last_error",
    "whole_read_began",
    "whole_read_count",
    "whole_read_total",
    "whole_read_took",
)


@dataclass(frozen=True)
class Freshness:
    """How up to date the queue is, or one connection's part of it."""

    # Green, amber or red.
    level: str
    # When the last complete read began; None if there was none yet.
    as_of: datetime | None
    # Why it is not green, as a sentence.
    reason: str = ""


def freshness_for(actor: Actor) -> Freshness:
    """Return how up to date the part of the queue is that the actor sees: that of the
    connection that is worst.

    The database's clock is used, as for reads: a wrong clock of this host must not show
    old data as green.
    """
    connections = (
        Connection.objects.at_work()
        .visible_to(actor)
        .only(*_JUDGED)
        .annotate(clock=Now())
    )
    judged = [freshness_of(one, now=one.clock) for one in connections]  # type: ignore[attr-defined]
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
    """Return how up to date one connection's part of the queue is."""
    as_of = connection.complete_as_of
    reason = ""
    if connection.paused_at:
        reason = f"{connection.name} is paused: {connection.paused_because}"
    elif connection.failing_since:
        reason = f"{connection.name}: {connection.last_error}"
    progress = _progress_of(connection)
    if reason and progress:
        reason += f" {progress}"
    if not as_of:
        level = "red" if connection.paused_at else "amber"
        unread = progress or f"{connection.name} has not been read yet."
        return Freshness(level, None, reason or unread)
    age = now - as_of - connection.slack
    minutes = int((now - as_of).total_seconds() // 60)
    old = f"{connection.name} was last read whole {minutes} minutes ago. {progress}"
    if connection.paused_at or age > STALE_AFTER:
        return Freshness("red", as_of, reason or old.strip())
    if age > AMBER_AFTER or connection.failing_since:
        return Freshness("amber", as_of, reason or old.strip())
    return Freshness("green", as_of)


def _progress_of(connection: Connection) -> str:
    """Return how far the whole read under way is, as a sentence; empty if none is, or
    nothing was read yet.
    """
    if not connection.is_being_read:
        return ""
    number = connection.whole_read_count
    of = ""
    if connection.whole_read_total > number:
        of = f" of about {connection.whole_read_total:,}"
    return f"{connection.name}: {number:,}{of} held messages read so far."


@dataclass(frozen=True)
class Health:
    """A connection's health as pages show it: a word, its colour, and what to do."""

    word: str
    tone: str
    advice: str = ""


def health_of(connection: Connection, freshness: Freshness, *, now: datetime) -> Health:
    """Return a connection's health. Before the first read, it does not count as
    healthy.
    """
    if connection.paused_by_hand:
        return Health(
            "Paused", "amber", "Decisions wait here until an admin resumes it."
        )
    if connection.paused_at:
        advice = "Enter a key that MultiMail accepts. The next successful read ends the pause."
        return Health("Paused", "rose", advice)
    if connection.wait_until and connection.wait_until > now:
        advice = f"MultiMail asked the desk to wait until {time_of_day(connection.wait_until)}."
        return Health("Waiting", "amber", advice)
    is_late = freshness.level != "green"
    if is_late and connection.is_being_read and not connection.failing_since:
        advice = "Messages can be decided as soon as they are here."
        return Health("Reading", "amber", advice)
    if freshness.as_of is None:
        advice = "It is read every half minute. If this does not change, check its address and its oversight key."
        return Health("Not read yet", "amber", advice)
    if freshness.level == "green" and not connection.failing_since:
        return Health("Healthy", "green")
    word = "Late"
    advice = "The last complete read is too long ago. The desk keeps reading."
    if connection.failing_since:
        word = "Failing"
        advice = "The desk tries again at least once a minute. Newer held mail may be missing here."
    if freshness.level == "red":
        return Health("Out of date", "rose", advice)
    return Health(word, "amber", advice)
