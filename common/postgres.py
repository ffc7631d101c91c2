"""What is asked of PostgreSQL beside rows: its clock, locks that all hosts share, limits
of statements, transactions that are tried again, and what it says of itself.

By SQL, because the ORM reads and writes rows: it has no words for locks without a row,
for settings of a transaction, for a question to no table, or for catalogs.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

P = ParamSpec("P")
R = TypeVar("R")

_ABORTED = ("40P01", "40001")
_TRIES = 8
_MAX_PAUSE = 0.2


def _rows(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def _tell(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def clock() -> datetime:
    """Return the time by the database: what decides (expiry, leases) must not go by a
    host whose clock is off.
    """
    at: datetime = _rows("SELECT clock_timestamp()")[0][0]
    return at


def ping() -> None:
    """Ask the database for nothing. Raises DatabaseError where it does not answer."""
    _tell("SELECT 1")


def take_lock(name: str, *, shared: bool = False) -> datetime:
    """Wait for the lock of this name and hold it until the transaction ends; return the
    time at which it was taken.

    It is for what has no row to lock. Those who share it wait for no other.
    """
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    sql = f"SELECT {function}(hashtextextended(%s, 0)), clock_timestamp()"
    at: datetime = _rows(sql, name)[0][1]
    return at


def try_lock(name: str) -> bool:
    """Take the lock of this name until the transaction ends; False where somebody else
    holds it.
    """
    sql = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
    is_taken: bool = _rows(sql, name)[0][0]
    return is_taken


@contextmanager
def statements_within(milliseconds: int) -> Iterator[None]:
    """Run the block in a transaction, and cancel each of its statements that takes
    longer. Raises OperationalError.
    """
    with transaction.atomic():
        limit_statements(milliseconds)
        yield
        # What follows in the same transaction has its own limit.
        _tell("SET LOCAL statement_timeout = DEFAULT")


def limit_statements(milliseconds: int) -> None:
    """Cancel each statement that takes longer, until the transaction ends; 0 for no
    limit.
    """
    _tell(f"SET LOCAL statement_timeout = {milliseconds}")


def limit_waits(milliseconds: int) -> None:
    """Cancel each statement that waits longer for a lock, until the transaction ends."""
    _tell(f"SET LOCAL lock_timeout = {milliseconds}")


@contextmanager
def one_moment() -> Iterator[None]:
    """See the database as it is now until the end, and write nothing. Must not be
    within a transaction.
    """
    with transaction.atomic(durable=True):
        _tell("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # It takes as long as the tables are large.
        limit_statements(0)
        yield


def retry_transaction(whole: Callable[[], R]) -> R:
    """Call what is one whole transaction, and again each time that PostgreSQL aborts
    it, up to eight times.
    """
    for number in range(_TRIES - 1):
        try:
            return whole()
        except OperationalError as error:
            # Inside another transaction, that one is aborted too.
            if (
                connection.in_atomic_block
                or getattr(error.__cause__, "sqlstate", "") not in _ABORTED
            ):
                raise
        # Transactions that collided begin again at different times.
        time.sleep(random.uniform(0, min(_MAX_PAUSE, 0.005 * 2**number)))
    return whole()


def atomic_with_retry(command: Callable[P, R]) -> Callable[P, R]:
    """As transaction.atomic, for a command that may run several times: it must not
    change its arguments.
    """
    whole = transaction.atomic(command)

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return retry_transaction(partial(whole, *args, **kwargs))

    return run


@dataclass(frozen=True)
class Snapshot:
    """Which transactions have ended: all below `xmin`, and none from `xmax` on."""

    text: str
    xmin: int
    xmax: int


def current_snapshot() -> Snapshot:
    """Return the snapshot of this statement. Asking for it gives the transaction no id
    of its own.
    """
    (text,) = _rows("SELECT pg_current_snapshot()::text")[0]
    xmin, xmax, _ = text.split(":")
    return Snapshot(text, int(xmin), int(xmax))


def cluster_id() -> str:
    """Return the cluster's own identifier, empty where it may not be read."""
    function = "pg_catalog.pg_control_system()"
    (may_read,) = _rows("SELECT has_function_privilege(%s, 'EXECUTE')", function)[0]
    if not may_read:
        return ""
    (identifier,) = _rows("SELECT system_identifier::text FROM pg_control_system()")[0]
    return str(identifier)


@dataclass(frozen=True)
class TableGuard:
    """Whether the connected role may change a table's rows, or could, and how many
    triggers of the table fire.
    """

    table: str
    may_change: bool
    triggers: int


def table_guards(tables: tuple[str, ...]) -> list[TableGuard]:
    """Return the guards of these tables; one that does not exist yet is left out.

    A table's owner, or a role that can become its owner, can switch its triggers off
    and on again unnoticed.
    """
    found = _rows(
        "SELECT name, has_table_privilege(name, 'UPDATE, DELETE, TRUNCATE') OR pg_has_role(relowner, 'MEMBER'),"
        " (SELECT count(*) FROM pg_trigger"
        "   WHERE tgrelid = pg_class.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A'))"
        " FROM unnest(%s::text[]) AS guarded (name) JOIN pg_class ON pg_class.oid = to_regclass(name)",
        list(tables),
    )
    return [TableGuard(*row) for row in found]


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction that has written and not ended; `since` is None where its session
    belongs to another role.
    """

    who: str
    program: str
    # Empty for this database.
    database: str
    since: datetime | None


def oldest_writer() -> OpenTransaction | None:
    """Return the oldest open transaction that has written, but for the caller's.

    By age: PostgreSQL hides when sessions of other roles began, and shows the age of
    their transaction.
    """
    found = _rows(
        "SELECT who, program, coalesce(nullif(place, current_database()), ''), since FROM ("
        "  SELECT 'process ' || pid, coalesce(application_name, ''), datname, xact_start, age(backend_xid)"
        "    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
        "  UNION ALL"
        "  SELECT 'prepared transaction ' || gid, '', database, prepared, age(transaction) FROM pg_prepared_xacts"
        ") AS open (who, program, place, since, age) ORDER BY age DESC LIMIT 1"
    )
    return OpenTransaction(*found[0]) if found else None


@dataclass(frozen=True)
class IdleSession:
    """A session that keeps a transaction open and does nothing."""

    process: int
    role: str
    seconds: int


def idle_sessions(*, longer_than: float) -> list[IdleSession]:
    """Return the sessions of this database that have been idle in a transaction for so
    many seconds.
    """
    found = _rows(
        "SELECT pid, coalesce(usename, '?'), extract(epoch FROM clock_timestamp() - state_change)::int"
        "  FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%' AND datname = current_database()"
        "   AND state_change < clock_timestamp() - make_interval(secs => %s) ORDER BY state_change LIMIT 5",
        longer_than,
    )
    return [IdleSession(*row) for row in found]
