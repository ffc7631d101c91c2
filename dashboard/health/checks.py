"""Checks what the desk runs on: PostgreSQL, Redis, the disk, clocks, hosts, backups, mail
that waits, and background jobs. `doctor`, the page Needs attention and the metrics list
what is wrong; readiness uses some of the checks.

Nothing here prints, and no item contains a secret.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, InternalError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Count, Max, Min
from django.db.models.functions import Now

from alerts.models import Delivery, Destination
from approvals.operations.items import OPERATOR, Act, AttentionItem
from audit.guards import APPEND_ONLY, READ_ONLY
from audit.models import Entry
from common.disk import is_full
from common.grace import START, STUCK_AFTER
from common.postgres import (
    clock,
    idle_sessions,
    is_read_only,
    may_change,
    moved_collation,
    ping,
    tables_without_rights,
)
from common.time_zones import day_and_time
from common.version import product_build
from common.waiting_mail import BAD_DOMAINS, WAITING, WaitingMail
from dashboard import hosts, probes
from dashboard.health import guards
from dashboard.models import BACKUP, Tick
from launcher import data_folder
from launcher.postgres import OF_A_COMMAND, accepts_connections
from mirror.models import Connection
from policy.errors import RuleError
from policy.models import KillSwitch
from policy.rules.problems import problems_now

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
# How many names, such as of migrations, a sentence has.
_FEW = 3
# The Celery queues.
QUEUES = ("decisions", "sync", "alerts", "gateway")
# What is late while PostgreSQL or Redis takes no changes, whatever the workers do.
_LATE = "worker alerts queue ledger stalled".split()
# The beginning of keys that desks write to find out whether Redis takes changes.
_PROBE = "countersign:probe"


def examine() -> list[AttentionItem]:
    """Return what is wrong, and what is good to know. Without PostgreSQL only the rest
    is checked.
    """
    build = fact(f"Countersign {product_build()}")
    items = [build, *_disk(), *_proxy(), *_redis_server()]
    if reason := database_error():
        return [
            item(
                "database",
                "PostgreSQL is not responding: nothing is received or decided",
                "Start it, or correct DATABASE_URL. Other problems cannot be checked until then.",
                f"It answered: {reason}",
                asked="SELECT 1",
            ),
            *items,
        ]
    items += [*_read_only(), *_postgresql()]
    # With other tables than this version's, nothing else can be read.
    if not {"migrations", "rights"} & {one.kind for one in items}:
        for check in (_hosts, _backups, _noted, _policy, _alerts, _workers):
            items += check()
    return items


def item(
    kind: str,
    what: str,
    advice: str,
    why: str = "",
    *,
    since: datetime | None = None,
    page: str = "",
    **facts: Any,
) -> AttentionItem:
    """Return an item for whoever runs the desk; on `page` it can be resolved."""
    act = Act("See the page", page) if page else None
    return AttentionItem(kind, what, since, why, advice, act, whose=OPERATOR, **facts)


def fact(what: str, advice: str = "", page: str = "") -> AttentionItem:
    """Return what is good to know and needs no person."""
    return item("fact", what, advice, page=page, needs_action=False)


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


def redis_works() -> bool:
    """Whether Redis stores a key within a second."""
    return not list(_redis_error(_redis()))


def parser_answers() -> bool:
    """Whether the parser accepts connections. One of this command alone does not count:
    it was started because there is no other.
    """
    address = Path(os.environ["PARSER_SOCKET"])
    return address.parent.name != OF_A_COMMAND and accepts_connections(address)


def standstills() -> list[AttentionItem]:
    """Return what stops the desk's work for everybody."""
    return [*_read_only(), *_redis_error(_redis())] or silent_jobs()


def _read_only() -> Iterator[AttentionItem]:
    if is_read_only():
        yield item(
            "read_only",
            "PostgreSQL takes no changes: nothing is received, decided or sent",
            "If it is a standby, set DATABASE_URL to the primary. If not, set default_transaction_read_only to off.",
            "Its transactions are read-only.",
            asked="SHOW transaction_read_only",
            explains=_LATE,
        )


def lost_rights() -> list[str]:
    """Return the tables that the role in DATABASE_URL cannot use as it has to."""
    tables = set(connection.introspection.django_table_names())
    return tables_without_rights(tables - {*READ_ONLY}, APPEND_ONLY)


def _redis_error(client: "redis.Redis") -> Iterator[AttentionItem]:
    """Yield why Redis stores nothing. One that is full, or is a replica, still answers a
    ping.
    """
    try:
        client.set(f"{_PROBE}:{probes.desk_id()}", "", ex=60)
    except redis.RedisError as error:
        what = "Redis is not responding"
        advice = "Start Redis, or correct REDIS_URL: host, user and password."
        if isinstance(error, redis.exceptions.NoPermissionError):
            what = "Redis lets the desk store nothing"
            advice = "Allow the user in REDIS_URL all commands on all keys."
        elif isinstance(error, redis.ResponseError):
            what = "Redis stores nothing"
            advice = (
                "Give it memory (maxmemory) or disk, or set REDIS_URL to the primary."
            )
        yield item(
            "redis",
            f"{what}: work starts later, and open pages poll",
            f"No work is lost. {advice}",
            _redis_words(client, error),
            asked=f"SET {_PROBE}",
            explains=_LATE,
        )


def _redis_words(client: "redis.Redis", error: Exception) -> str:
    secret = client.connection_pool.connection_kwargs.get("password")
    return f"It answered: {_first_line(error, secret)}"


def _redis_server() -> Iterator[AttentionItem]:
    client = _redis()
    if problems := list(_redis_error(client)):
        yield from problems
        return
    try:
        info: dict[str, Any] = client.info()
        lengths = {queue: int(client.llen(queue)) for queue in QUEUES}
        if len(list(client.scan_iter(f"{_PROBE}:*", count=1000))) > 1:
            yield item(
                "redis",
                "Another Countersign uses this Redis: each takes tasks of the other",
                "Give each a database of its own: REDIS_URL ends in /0 for one, and in /1 for the other.",
                asked=f"SCAN {_PROBE}:*",
            )
    except redis.RedisError as error:
        # The desk can work without: managed servers may keep a user from INFO.
        yield fact("Redis was not examined", _redis_words(client, error))
        return
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        yield fact(
            f"Redis discards data when it is full (maxmemory-policy {policy})",
            "Set maxmemory-policy to noeviction.",
        )
    for queue, length in lengths.items():
        if length > MANY_WAITING:
            yield item(
                "queue",
                f"{length} tasks are waiting in the queue {queue}",
                "Its worker is too slow or not running: see its log in DATA_DIR/log.",
                number=length,
            )
    # Valkey names the version of Redis that it works like, too.
    name = "valkey" if "valkey_version" in info else "redis"
    yield fact(f"{name.capitalize()} {info.get(f'{name}_version')}")


def _postgresql() -> Iterator[AttentionItem]:
    version = connection.pg_version  # type: ignore[attr-defined]
    number = f"{version // 10_000}.{version % 10_000}"
    yield fact(f"PostgreSQL {number}")
    if lost := lost_rights():
        yield item(
            "rights",
            f"The role in DATABASE_URL may not read or change: {first_few(lost)}",
            "Restart the desk with ./run, which grants what is missing.",
            number=len(lost),
        )
    if version < OLDEST_POSTGRESQL:
        yield item(
            "postgresql",
            f"PostgreSQL is version {number}, and at least 15 is needed",
            "Update it: docs/operators/postgresql.md.",
        )
    if moved := moved_collation():
        yield item(
            "collation",
            f"The rules for sorting text changed ({' to '.join(moved)}), and indexes may miss rows",
            "Run REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION: docs/operators/postgresql.md.",
            "PostgreSQL runs on another operating system or image than the one that made the database.",
        )
    asked_at = time.time()
    database_time = clock().timestamp()
    difference = (asked_at + time.time()) / 2 - database_time
    if abs(difference) > CLOCK_OFF:
        direction = "ahead of" if difference > 0 else "behind"
        yield item(
            "clock",
            f"The clock of this host is {abs(difference):.0f} s {direction} the database's",
            "Synchronise both with NTP: timedatectl set-ntp true.",
            "Ages on pages and codes of authenticator apps are wrong.",
        )
    # A web process or worker has the migrations of its own product only, and `prepare`
    # let it start. There, another version of a host tells of an upgrade.
    has_all = settings.SERVE == "both"
    unknown = unknown_migrations(applied_migrations()) if has_all else []
    pending = pending_migrations() if has_all else []
    if unknown:
        yield item(
            "migrations",
            f"The database was used by a newer Countersign ({first_few(unknown)})",
            "Start that version or a newer one: docs/operators/upgrade.md.",
            number=len(unknown),
        )
    if pending:
        yield item(
            "migrations",
            f"{len(pending)} migrations have not been applied: {first_few(pending)}",
            "Restart the desk with ./run, which applies them.",
            number=len(pending),
        )
    # Both would change more of them.
    if not (unknown or pending) and (changed := guards.differences()):
        yield item(
            "guards",
            f"The database was changed by hand: {first_few(changed)}",
            "Find out who did this, and undo it.",
            "It differs from what the migrations made. Triggers, constraints and grants protect the ledger.",
            number=len(changed),
        )
    if may_change(APPEND_ONLY):
        yield fact(
            "Only triggers protect the ledger: the role in DATABASE_URL may change its tables",
            "Set DATABASE_OWNER_URL to another role, which owns the tables.",
        )
    for session in idle_sessions(longer_than=IDLE.total_seconds()):
        idle = timedelta(seconds=session.seconds)
        yield item(
            "idle_session",
            f"A session of {session.role} (process {session.process}) keeps a transaction open while idle",
            f"It keeps locks and old rows. End it: SELECT pg_terminate_backend({session.process});",
            since=clock() - idle,
        )


def _disk() -> Iterator[AttentionItem]:
    # An embedded PostgreSQL stores its data in DATA_DIR too.
    try:
        total, _, free = shutil.disk_usage(settings.DATA_DIR)
    except OSError as error:
        yield item(
            "disk",
            f"DATA_DIR cannot be read: {error.strerror}",
            "Set DATA_DIR to an existing folder.",
        )
        return
    left = f"{free // 1024**2} MB are free"
    if is_full(settings.DATA_DIR):
        yield item(
            "disk",
            f"The disk of DATA_DIR is full, and nothing can be stored: {left}",
            "Free disk space: PostgreSQL needs at least 16 MB. No restart is needed.",
        )
    elif free < min(LOW_DISK, total // 20):
        yield item(
            "disk",
            f"The disk of DATA_DIR is nearly full: {left}",
            "Free disk space. When the disk is full, nothing can be decided or stored.",
        )


def _proxy() -> Iterator[AttentionItem]:
    if settings.IS_BEHIND_PROXY and not settings.TRUSTED_PROXIES:
        yield fact(
            "TRUSTED_PROXIES is not set, so everybody behind the proxy counts as one address",
            "Set it to the proxy's IP address. Until then, one stranger can use up the limits of all.",
        )


def _hosts() -> Iterator[AttentionItem]:
    for other in hosts.other_versions():
        yield item(
            "versions",
            f"The host {other} runs another version than this one",
            "Run the same version on all hosts: docs/operators/upgrade.md.",
        )
    for name, host in hosts.differences():
        yield item(
            "settings",
            f"{name} is another one on the host {host.name} than on this one",
            "Give both the same, and restart them with ./run.",
        )


def _backups() -> Iterator[AttentionItem]:
    made = Tick.objects.filter(job=BACKUP).order_by("at").last()
    first = Entry.objects.order_by("pk").first()
    since = made or first
    days = settings.BACKUP_DAYS
    is_wanted = days and settings.DEMO == "0"
    if is_wanted and since and since.at < clock() - timedelta(days=days):
        yield item(
            "backup",
            "The newest backup is old" if made else "No backup was ever made",
            "Make one: ./run backup FILE. If you back up by other means, set BACKUP_DAYS=0.",
            since=since.at,
        )


# By cause: what the mail server does, and how that is mended.
_CAUSES = {
    "sign_in": (
        "the mail server refuses the sign-in",
        "Correct the user and password in EMAIL_URL, restart the desk",
    ),
    "sender": (
        "the mail server refuses the sender",
        "Allow the mailboxes' addresses as senders there",
    ),
    "blocked": (
        "the mail server blocks them",
        "Ask its operator to unblock this host or its domain",
    ),
    "quota": ("the quota of the mail server is used up", "Raise it there, or wait"),
    "unreachable": (
        "the mail server does not answer",
        "Check EMAIL_URL and the network",
    ),
    "other": ("the mail server does not take them", "Repair what its answer names"),
    "untried": (
        "the mail server was not asked",
        "Set EMAIL_URL and restart the desk",
    ),
    "unknown": (
        "the mail server's answer was lost",
        "Look for them in its log: what is not there, their author sends again",
    ),
}


def _noted() -> Iterator[AttentionItem]:
    """Yield what background jobs have noted."""
    notes: dict[str, Any] = {}
    # To read one that has expired deletes it, which a read-only PostgreSQL refuses: the
    # transaction of the page goes on.
    with suppress(InternalError), transaction.atomic():
        notes = cache.get_many([WAITING, BAD_DOMAINS, probes.ADDRESS, probes.SEALS])
    yield from _mail(notes.get(WAITING, []))
    for domain, problem in notes.get(BAD_DOMAINS, []):
        yield item(
            "domain",
            f"Mail of {domain} is signed, and DNS does not have the key: servers may refuse it",
            "Publish the record, or wait until DNS answers: it is looked up again every five minutes.",
            problem,
            page="/domains/",
        )
    if gone := notes.get(probes.SEALS):
        yield item(
            "seals_file",
            f"The seals' file lacks {len(gone)} of the newest seals: deleted entries would go unnoticed",
            "Find out who changed SEAL_FILE, and put its lines back from a backup: docs/operators/ledger-seals.md.",
            f"The first is seal {gone[0]}.",
            number=len(gone),
        )
    if address := notes.get(probes.ADDRESS):
        yield from _own_address(address)


def _own_address(found: probes.OwnAddress) -> Iterator[AttentionItem]:
    asked: dict[str, Any] = {
        "asked": f"GET {settings.PUBLIC_URL}/healthz",
        "asked_at": found.at,
    }
    if found.error:
        yield item(
            "public_url",
            "PUBLIC_URL does not lead to this desk: links in mails and webhooks do not arrive",
            "Correct PUBLIC_URL, DNS or the proxy. If only this host cannot reach it, name the address in /etc/hosts.",
            f"It answered: {found.error}",
            needs_action=found.is_certain,
            **asked,
        )
    if found.dates and found.dates[0] < found.at:
        yield item(
            "certificate",
            f"The certificate of PUBLIC_URL ends on {day_and_time(found.dates[1])}",
            "Renew it: less than a tenth of its time is left.",
            **asked,
        )


def _mail(groups: Iterable[WaitingMail]) -> Iterator[AttentionItem]:
    for mail in groups:
        cause = mail.cause or "untried"
        what, advice = _CAUSES.get(cause, _CAUSES["other"])
        # Without a mail server none is due.
        following = ""
        if mail.next_try > clock():
            following = f"; the next try is at {day_and_time(mail.next_try)}"
        state = "cannot be sent"
        then = ", then run: ./run manage send_again"
        if cause == "unknown":
            state = "may not have been sent"
            then = "."
        yield item(
            f"mail_{cause}",
            f"{mail.number} message{'s' if mail.number > 1 else ''} {state}: {what}",
            advice + then,
            f"The oldest is {mail.oldest}{following}. "
            f"It answered: {mail.answer or 'nothing'}",
            since=mail.since,
            number=mail.number,
        )


def _policy() -> Iterator[AttentionItem]:
    """Yield kill switches, and problems of the active rules, such as a rule that nobody
    can satisfy.
    """
    for switch in KillSwitch.objects.pulled().select_related("pulled_by"):
        yield item(
            "kill_switch",
            f"{switch.pulled_by} pulled the {switch}",
            "An admin can release it.",
            switch.reason,
            since=switch.pulled_at,
            page="/stop/",
        )
    try:
        problems = problems_now()
    except RuleError as error:
        yield item(
            "policy",
            f"The rules of the policy cannot be read: {error.sentence}",
            "Until then nothing can be approved.",
        )
        return
    for sentence in chain.from_iterable(problems.values()):
        advice = "Nobody can approve the messages that it applies to. An admin changes the rule or the group."
        yield item("policy", sentence, advice, needs_action=True)


def _alerts() -> Iterator[AttentionItem]:
    for destination in Destination.objects.switched_off():
        yield item(
            "destination",
            f"Alerts to {destination} are switched off",
            "Nobody is notified there. Mend the cause, send a test, and switch it on again.",
            destination.switched_off_because,
            since=destination.switched_off_at,
            page="/alerts/",
        )
    to_people = Destination.objects.filter(kind="email", owner__is_active=True)
    for destination in to_people.exclude(switched_off_at=None).select_related("owner"):
        yield item(
            "bounced",
            f"Mail to {destination.owner} came back, and nothing more is mailed to them",
            "Correct the address of their account, or ask them to have it tried again under Notifications.",
            destination.switched_off_because,
            since=destination.switched_off_at,
            page=f"/people/{destination.owner_id}/",
        )
    tried = Delivery.objects.filter(destination__in=to_people, attempts__gt=0)
    last = tried.exclude(last_attempt_at=None).order_by("-last_attempt_at").first()
    if last and last.last_error and not last.destination.switched_off_at:
        yield item(
            "people_mail",
            "The last mail to people was not sent",
            "Check EMAIL_URL and EMAIL_FROM. Test notifications, under Notifications, shows what the server answers.",
            last.last_error,
            since=last.last_attempt_at,
            page="/account/notifications/test/",
        )
    if dead := Delivery.objects.dead_lately().count():
        yield fact(
            f"{dead} alerts could not be delivered in the last 24 hours",
            page="/alerts/",
        )


def _workers() -> Iterator[AttentionItem]:
    if is_desk_stopped():
        yield item(
            "stopped",
            "The desk is not running: nothing is received, decided or sent",
            "Start it with ./run. Its background work is not checked here; the pages named below work once it runs.",
        )
        return
    if is_starting() or is_warming_up():
        yield fact(
            "The desk started less than a minute ago: its background work is not checked yet",
            "Run this again in a minute.",
        )
        return
    yield from silent_jobs()
    if not parser_answers():
        yield item(
            "parser",
            "The parser is not running: no message can be read or shown",
            "See parser.log in DATA_DIR/log.",
        )
    late = Delivery.objects.overdue().aggregate(
        number=Count("pk"), since=Min("next_attempt_at")
    )
    if late["number"]:
        yield item(
            "alerts",
            f"{late['number']} alerts are overdue",
            "Their worker is not running, or the services that they go to are slow.",
            page="/alerts/",
            **late,
        )


def applied_migrations() -> list[tuple[str, str]]:
    """Return the app and the name of every applied migration; an empty list for an
    empty database.
    """
    return sorted(MigrationRecorder(connection).applied_migrations())


def unknown_migrations(applied: Iterable[tuple[str, str]]) -> list[str]:
    """Return those of these applied migrations that this version does not have."""
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    replaced = {name for migration in known.values() for name in migration.replaces}
    return [
        f"{app}.{name}"
        for app, name in applied
        if (app, name) not in known.keys() | replaced
    ]


def first_few(names: list[str]) -> str:
    """Return the first few names for a sentence, and how many more there are."""
    more = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {more} more" if more > 0 else "")


def pending_migrations() -> list[str]:
    """Return the migrations that are not applied yet."""
    found = hosts.migrations_to_run()
    return [f"{migration.app_label}.{migration.name}" for migration in found]


def _redis() -> "redis.Redis":
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1
    )


def _first_line(error: Exception, secret: object) -> str:
    """Return the first line of a driver's error, with the password replaced."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].replace(str(secret), "[hidden]") if secret else lines[0]


# Of the gateway's worker; it does not run where another host or MultiMail is used.
_GATEWAY = "gateway.tasks.sweep"
# A job of each worker that shows that the worker runs, and what does not happen without.
_WORK = {
    "approvals.tasks.sweep": "Decisions are not carried out, and MultiMail is not read",
    "alerts.tasks.sweep": "Alerts are not sent",
    _GATEWAY: "Mail is not sent",
}
_NO_WORKER = "No worker is seen."
_START = (
    "Start the desk with ./run. If it is running, see the worker's log in DATA_DIR/log."
)


def silent_jobs() -> list[AttentionItem]:
    """Return what does not happen because background jobs last ran too long ago, by the
    database's clock: nothing, or one item.
    """
    last_run = dict(
        Tick.objects.filter(job__in=_WORK).values_list("job").annotate(last=Max("at"))
    )
    now = clock()
    ours = Connection.objects.at_work().filter(is_our_gateway=True)
    if _GATEWAY not in last_run or not ours.exists():
        last_run[_GATEWAY] = now
    silent = [
        job
        for job in _WORK
        if job not in last_run or last_run[job] <= now - STUCK_AFTER
    ]
    if not silent:
        return []
    return [
        item(
            "worker",
            ". ".join(_WORK[job] for job in silent),
            _START,
            _NO_WORKER,
            since=last_run.get(silent[0]),
            # One worker of the desk does both.
            explains=() if silent == [_GATEWAY] else ("stalled", "alerts"),
        )
    ]


def is_warming_up() -> bool:
    """Whether the background jobs have only just begun to run again, so that work may
    be late through no fault of theirs.
    """
    ticks = Tick.objects.filter(job__in=_WORK)
    before = ticks.filter(at__lte=Now() - START, at__gt=Now() - START - STUCK_AFTER)
    return ticks.filter(at__gt=Now() - STUCK_AFTER).exists() and not before.exists()
