"""Checks PostgreSQL, Redis, the disk, the clock and the background jobs, for `doctor`,
readiness and the pages. Each finding is a sentence for an operator.

Nothing here prints, and no finding contains a secret.
"""

import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max
from django.db.models.functions import Now

from audit.guards import APPEND_ONLY, TRIGGERS
from common.disk import is_full
from common.grace import START, STUCK_AFTER
from common.postgres import clock, idle_sessions, ping, table_guards
from dashboard.models import Tick
from launcher import data_folder
from launcher.servers import OF_A_COMMAND

# As PostgreSQL reports its version: 15.0.
OLDEST_POSTGRESQL = 150_000
# By how many seconds this host's clock may differ from the database's.
CLOCK_OFF = 2.0
# With fewer free bytes than this, or than a twentieth of a smaller disk, an operator is
# warned.
LOW_DISK = 1024**3
# How many waiting tasks of a queue are too many.
MANY_WAITING = 1000
# How long a transaction may be open while its session is idle.
IDLE = timedelta(minutes=1)
# The verbs of ./run that start the desk or the gateway.
_RUNS = ("start", "gateway")
# How many migrations a sentence names.
_FEW = 3
# The Celery queues.
QUEUES = ("decisions", "sync", "alerts", "gateway")


@dataclass(frozen=True)
class Finding:
    """Something that an operator should know: a sentence, and what to do about it."""

    sentence: str
    advice: str = ""
    # Whether somebody must act; otherwise it is only for information.
    needs_action: bool = True
    # Whether the desk could not be checked because of it.
    prevents_checks: bool = False


def is_desk_stopped() -> bool:
    """Whether the desk is not running: its own PostgreSQL was only started for this
    command.

    With an external PostgreSQL this is always False: the desk may run on another host.
    """
    state = _run_state()
    return "postgres" in state.get("processes", {}) and state.get("verb") not in _RUNS


def is_starting() -> bool:
    """Whether the desk is being started on this machine and is not ready yet."""
    state = _run_state()
    return state.get("verb") in _RUNS and not state.get("is_ready")


def _run_state() -> dict[str, Any]:
    data = Path(settings.DATA_DIR)
    return data_folder.read_state(data) if data_folder.is_held(data) else {}


def database_error() -> str | None:
    """Return why PostgreSQL cannot be used, or None."""
    try:
        ping()
    except DatabaseError as error:
        return _first_line(error, settings.DATABASES["default"]["PASSWORD"])
    return None


def redis_answers() -> bool:
    """Whether Redis answers a ping within a second."""
    try:
        return bool(_redis().ping())
    except redis.RedisError:
        return False


def parser_answers() -> bool:
    """Whether the parser accepts connections. One of this command alone does not count:
    it was started because there is no other.
    """
    address = Path(os.environ["PARSER_SOCKET"])
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(address))
    except OSError:
        return False
    return address.parent.name != OF_A_COMMAND


def examine_redis(facts: list[str]) -> Iterator[Finding]:
    """Yield what is wrong with Redis, and append a line about it to `facts`."""
    try:
        info: dict[str, Any] = _redis().info()
        lengths = {queue: int(_redis().llen(queue)) for queue in QUEUES}
    except redis.RedisError as error:
        why = _first_line(
            error, _redis().connection_pool.connection_kwargs.get("password")
        )
        yield Finding(
            f"Redis is not responding: {why}",
            "No work is lost, but it starts seconds later and open pages poll. Start Redis, or set REDIS_URL.",
        )
        return
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        yield Finding(
            f"Redis discards data when it is full (maxmemory-policy {policy}).",
            "Set maxmemory-policy to noeviction.",
            needs_action=False,
        )
    for queue, length in lengths.items():
        if length > MANY_WAITING:
            yield Finding(
                f"{length} tasks are waiting in the queue {queue}.",
                "Its worker is too slow or not running.",
            )
    waiting = ", ".join(f"{queue} {length}" for queue, length in lengths.items())
    facts.append(f"Redis {info.get('redis_version')}; waiting tasks: {waiting}.")


def examine_postgresql(facts: list[str]) -> Iterator[Finding]:
    """Yield what is wrong with a PostgreSQL that answers, and append a line about it to
    `facts`.
    """
    version = connection.pg_version  # type: ignore[attr-defined]
    facts.append(f"PostgreSQL {version // 10_000}.{version % 10_000}.")
    if version < OLDEST_POSTGRESQL:
        yield Finding(
            f"PostgreSQL is version {version // 10_000}, and at least 15 is needed.",
            "Update it.",
        )
    asked_at = time.time()
    database_time = clock().timestamp()
    difference = (asked_at + time.time()) / 2 - database_time
    if abs(difference) > CLOCK_OFF:
        direction = "ahead of" if difference > 0 else "behind"
        yield Finding(
            f"The clock of this host is {abs(difference):.0f} s {direction} the database's.",
            "Decisions use the database's clock, but ages on pages will be wrong. Synchronise both with NTP.",
            needs_action=False,
        )
    if unknown := unknown_migrations(applied_migrations()):
        yield Finding(
            f"The database was used by a newer Countersign ({first_few(unknown)}).",
            "Start that version or a newer one: docs/operators/upgrade.md.",
        )
    if pending := pending_migrations():
        yield Finding(
            f"{len(pending)} migrations have not been applied: {', '.join(pending[:5])}.",
            "Restart the desk with ./run, which applies them.",
        )
    guards = table_guards(APPEND_ONLY)
    if lacking := [one.table for one in guards if one.triggers < TRIGGERS]:
        yield Finding(
            f"Triggers that protect the ledger are missing or disabled: {', '.join(lacking)}.",
            "Find out who did this, and restore them.",
        )
    elif any(one.may_change for one in guards):
        yield Finding(
            "Only triggers protect the ledger: the role in DATABASE_URL may change its tables.",
            "Set DATABASE_OWNER_URL to another role, which owns the tables.",
            needs_action=False,
        )
    for session in idle_sessions(longer_than=IDLE.total_seconds()):
        yield Finding(
            f"A session of {session.role} (process {session.process}) has kept a transaction open for "
            f"{session.seconds // 60} min while idle.",
            f"It keeps locks and old rows. End it: SELECT pg_terminate_backend({session.process});",
        )


def examine_disk() -> Iterator[Finding]:
    """Yield a finding if the disk of DATA_DIR is full or nearly full. An embedded
    PostgreSQL stores its data there too.
    """
    try:
        total, _, free = shutil.disk_usage(settings.DATA_DIR)
    except OSError as error:
        yield Finding(
            f"DATA_DIR cannot be read: {error.strerror}.",
            "Set DATA_DIR to an existing folder.",
        )
        return
    left = f"{free // 1024**2} MB are free."
    if is_full(settings.DATA_DIR):
        yield Finding(
            f"The disk of DATA_DIR is full, and nothing can be stored: {left}",
            "Free disk space: PostgreSQL needs at least 16 MB. No restart is needed.",
        )
    elif free < min(LOW_DISK, total // 20):
        yield Finding(
            f"The disk of DATA_DIR is nearly full: {left}",
            "Free disk space. When the disk is full, nothing can be decided or stored.",
        )


def examine_proxy() -> Iterator[Finding]:
    """Yield a finding if all clients count as one address, because the proxy in front
    is not a trusted one.
    """
    if settings.IS_BEHIND_PROXY and not settings.TRUSTED_PROXIES:
        yield Finding(
            "TRUSTED_PROXIES is not set, so everybody behind the proxy counts as one address.",
            "Set it to the proxy's IP address. Until then, one stranger can use up the limits of all.",
            needs_action=False,
        )


def applied_migrations() -> list[tuple[str, str]]:
    """Return the app and the name of every applied migration; an empty list for an
    empty database.
    """
    recorder = MigrationRecorder(connection)
    return sorted(recorder.applied_migrations()) if recorder.has_table() else []


def unknown_migrations(applied: Iterable[tuple[str, str]]) -> list[str]:
    """Return those of these applied migrations that this version does not have."""
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    replaced = {name for migration in known.values() for name in migration.replaces}
    return [
        f"{app}.{name}"
        for app, name in applied
        if (app, name) not in known.keys() | replaced
    ]


def first_few(migrations: list[str]) -> str:
    """Return the first few migrations for a sentence, and how many more there are."""
    more = len(migrations) - _FEW
    return ", ".join(migrations[:_FEW]) + (f" and {more} more" if more > 0 else "")


def pending_migrations() -> list[str]:
    """Return the migrations that are not applied yet."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _redis() -> "redis.Redis":
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1
    )


def _first_line(error: Exception, secret: object) -> str:
    """Return the first line of a driver's error, with the password replaced."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].replace(str(secret), "[hidden]") if secret else lines[0]


# A job of each worker that shows that the worker runs, and what does not happen without
# it.
_WORK = {
    "approvals.tasks.sweep": "Decisions are not carried out, and MultiMail is not read",
    "alerts.tasks.sweep": "Alerts are not sent",
}


@dataclass(frozen=True)
class SilentJob:
    """A background job that stopped: what does not happen without it, and when it last
    ran, None if it never did.
    """

    what: str
    since: datetime | None


def silent_jobs() -> list[SilentJob]:
    """Return the background jobs that last ran too long ago, by the database's
    clock.
    """
    last_run = dict(
        Tick.objects.filter(job__in=_WORK).values_list("job").annotate(last=Max("at"))
    )
    limit = clock() - STUCK_AFTER
    return [
        SilentJob(what, last_run.get(job))
        for job, what in _WORK.items()
        if job not in last_run or last_run[job] <= limit
    ]


def is_warming_up() -> bool:
    """Whether the background jobs have only just begun to run again, so that work may
    be late through no fault of theirs.
    """
    ticks = Tick.objects.filter(job__in=_WORK)
    before = ticks.filter(at__lte=Now() - START, at__gt=Now() - START - STUCK_AFTER)
    return ticks.filter(at__gt=Now() - STUCK_AFTER).exists() and not before.exists()
