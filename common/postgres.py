"""Uses PostgreSQL for what the ORM cannot express: its clock, advisory locks, time
limits of statements, transactions that are tried again, constraints,
snapshots, and what its catalogs say about rights and open transactions.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from django.db import (
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    models,
    transaction,
)
from django.db.models import Q

P = ParamSpec("P")
R = TypeVar("R")

# The classes of errors that PostgreSQL raises if it cannot be used at this moment:
# `is_away` says whether one of them means that.
AWAY = (OperationalError, InterfaceError, InternalError)
_READ_ONLY = "25006"
# SQLSTATEs of a transaction that PostgreSQL aborted: deadlock, serialization failure.
_ABORTED = ("40P01", "40001")
_TRIES = 8
# Seconds between two tries.
_MAX_PAUSE = 0.2


# Runs a query and returns all its rows.
def _rows(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def _tell(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def clock() -> datetime:
    """Return the database's time. Expiry and leases use it, because the clock of a host
    may be wrong.
    """
    at: datetime = _rows("SELECT clock_timestamp()")[0][0]
    return at


def one_of(column: str, values: Iterable[str], name: str) -> models.CheckConstraint:
    """Return a check constraint with this name: a column holds one of `values`."""
    return models.CheckConstraint(condition=Q(**{f"{column}__in": values}), name=name)


def ping() -> None:
    """Run a trivial query. Raises DatabaseError if the database does not answer."""
    _tell("SELECT 1")


def is_read_only() -> bool:
    """Whether PostgreSQL takes no changes: it is a standby, or its transactions were set
    read-only.
    """
    return bool(_rows("SELECT current_setting('transaction_read_only') = 'on'")[0][0])


def is_read_only_error(error: BaseException | None) -> bool:
    """Whether PostgreSQL refused a change because it takes none at the moment."""
    return getattr(getattr(error, "__cause__", None), "sqlstate", "") == _READ_ONLY


def is_away(error: BaseException | None) -> bool:
    """Whether PostgreSQL cannot be used at this moment, whatever was asked: it does not
    answer, has no connection, disk or memory left, or takes no changes. The same request
    may work later.
    """
    is_out = isinstance(error, OperationalError | InterfaceError)
    return is_out or is_read_only_error(error)


def take_lock(name: str, *, shared: bool = False) -> datetime:
    """Wait for the lock of this name and hold it until the transaction ends; return the
    time at which it was taken.

    It is for what has no row to lock. Transactions that take it `shared` do not wait
    for each other.
    """
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    sql = f"SELECT {function}(hashtextextended(%s, 0)), clock_timestamp()"
    at: datetime = _rows(sql, name)[0][1]
    return at


def try_lock(name: str) -> bool:
    """Take the lock of this name until the transaction ends, without waiting. False if
    another transaction holds it.
    """
    sql = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
    is_taken: bool = _rows(sql, name)[0][0]
    return is_taken


@contextmanager
def statements_within(milliseconds: int) -> Iterator[None]:
    """Run the block in a transaction in which each statement may take so many
    milliseconds. Raises OperationalError if one takes longer.
    """
    with transaction.atomic():
        limit_statements(milliseconds)
        patience = connection.patience  # type: ignore[attr-defined]
        if patience:
            connection.patience = max(patience, milliseconds / 1000 + 1)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            connection.patience = patience  # type: ignore[attr-defined]
        # If there is an outer transaction, its later statements get the usual limit, also
        # if it had set one of its own.
        _tell("SET LOCAL statement_timeout = DEFAULT")


def limit_statements(milliseconds: int) -> None:
    """Until the transaction ends, cancel each statement that takes longer than this; 0
    for no limit.
    """
    _tell(f"SET LOCAL statement_timeout = {milliseconds}")


def limit_waits(milliseconds: int) -> None:
    """Until the transaction ends, cancel each statement that waits longer for a lock."""
    _tell(f"SET LOCAL lock_timeout = {milliseconds}")


@contextmanager
def one_moment() -> Iterator[None]:
    """Run the block so that all its queries see the database as it is now, and nothing
    can be written. Must not be used within a transaction.
    """
    with transaction.atomic(durable=True):
        _tell("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # Reading large tables takes long.
        limit_statements(0)
        yield


def retry_transaction(whole: Callable[[], R]) -> R:
    """Call `whole`, which must be one whole transaction. If PostgreSQL aborts it, call
    it again, up to eight times in all.
    """
    for number in range(_TRIES - 1):
        try:
            return whole()
        except OperationalError as error:
            # An outer transaction is aborted too, so trying only the inner one again is
            # useless.
            if (
                connection.in_atomic_block
                or getattr(error.__cause__, "sqlstate", "") not in _ABORTED
            ):
                raise
        # Transactions that collided begin again at different times.
        time.sleep(random.uniform(0, min(_MAX_PAUSE, 0.005 * 2**number)))
    return whole()


def atomic_with_retry(command: Callable[P, R]) -> Callable[P, R]:
    """Like transaction.atomic, but runs the command again if PostgreSQL aborts it. So
    the command must not change its arguments.
    """
    whole = transaction.atomic(command)

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return retry_transaction(partial(whole, *args, **kwargs))

    return run


@dataclass(frozen=True)
class Snapshot:
    """Which transactions have ended: all with ids below `xmin`, none from `xmax` on.
    `text` lists those between that have not.
    """

    text: str
    xmin: int
    xmax: int


def current_snapshot() -> Snapshot:
    """Return the current snapshot. This query does not give the transaction an id, as a
    write would.
    """
    (text,) = _rows("SELECT pg_current_snapshot()::text")[0]
    xmin, xmax, _ = text.split(":")
    return Snapshot(text, int(xmin), int(xmax))


def cluster_id() -> str:
    """Return the identifier of the PostgreSQL cluster; empty if this role may not read
    it.
    """
    function = "pg_catalog.pg_control_system()"
    (may_read,) = _rows("SELECT has_function_privilege(%s, 'EXECUTE')", function)[0]
    if not may_read:
        return ""
    (identifier,) = _rows("SELECT system_identifier::text FROM pg_control_system()")[0]
    return str(identifier)


def may_change(tables: tuple[str, ...]) -> bool:
    """Whether the connected role can change rows of one of these tables, or give itself
    the right to; a table that does not exist yet is left out.

    Also true for a table's owner, and for a role that can become its owner: they can
    disable triggers and enable them again without a trace.
    """
    rows = _rows(
        "SELECT FROM unnest(%s::text[]) AS guarded (name) JOIN pg_class ON pg_class.oid = to_regclass(name)"
        " WHERE has_table_privilege(name, 'UPDATE, DELETE, TRUNCATE') OR pg_has_role(relowner, 'MEMBER')",
        list(tables),
    )
    return bool(rows)


def moved_collation() -> tuple[str, str] | None:
    """Return the version of its collation that the database was made with and the one
    that the server has; None if they are the same.
    """
    rows = _rows(
        "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database"
        " WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)"
    )
    return rows[0] if rows else None


def tables_without_rights(
    tables: Iterable[str], append_only: Iterable[str]
) -> list[str]:
    """Return the names of those tables whose rows the connected role may not read, add
    and, except for `append_only`, change and delete.
    """
    rows = _rows(
        "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relname = ANY (%s) AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')"
        " AND (relname = ANY (%s)"
        "   OR has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))) ORDER BY 1",
        list(tables),
        list(append_only),
    )
    return [name for (name,) in rows]


# What PostgreSQL writes otherwise after a dump was restored: parentheses, and where texts
# are cast.
_GROUPING = r"::(text|character varying)(\[\])?|[()]"


def made_in_schema(append_only: tuple[str, ...]) -> dict[str, str]:
    """Return what PostgreSQL does by itself when rows of this schema are read or changed,
    what it refuses, and who else may change the rows of `append_only`: a digest of its
    definition by its name, such as "trigger audit_entry_rows on audit_entry" or
    "constraints of audit". It is the same in all versions of PostgreSQL.
    """
    return dict(
        _rows(
            "SELECT 'trigger ' || tgname || ' on ' || relname, left(md5(concat_ws(' ', tgtype, tgenabled, proname,"
            "   regexp_replace(substring(pg_get_triggerdef(pg_trigger.oid) FROM ' WHEN .*'), %s, '', 'g'),"
            "   tgdeferrable, (SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute"
            "   WHERE attrelid = tgrelid AND attnum = ANY (tgattr)))), 12)"
            " FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid"
            " WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal"
            " UNION ALL SELECT 'function ' || proname, left(md5(concat_ws(' ', prosrc, prosecdef, proconfig,"
            "   has_function_privilege('public', oid, 'EXECUTE'))), 12)"
            " FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND NOT EXISTS"
            "   (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')"
            " UNION ALL SELECT 'rule ' || rulename || ' on ' || relname, ''"
            " FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class"
            " WHERE relnamespace = current_schema()::regnamespace AND ev_type <> '1'"
            " UNION ALL SELECT 'policy ' || polname || ' on ' || relname, ''"
            " FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid"
            " WHERE relnamespace = current_schema()::regnamespace"
            " UNION ALL SELECT 'row security on ' || relname, '' FROM pg_class"
            " WHERE relnamespace = current_schema()::regnamespace AND relrowsecurity"
            " UNION ALL SELECT 'grant on ' || relname || ' to ' || coalesce(rolname, 'everybody'), ''"
            " FROM pg_class CROSS JOIN aclexplode(relacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee"
            " WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (%s)"
            "   AND grantee <> relowner AND privilege_type NOT IN ('SELECT', 'INSERT')"
            " UNION ALL SELECT 'constraints of ' || split_part(relname, '_', 1),"
            """   left(md5(string_agg(held, ' ' ORDER BY held COLLATE "C")), 12) FROM ("""
            "   SELECT relname, relname || regexp_replace(held, %s, '', 'g') FROM ("
            # A foreign key is checked by triggers, which can be disabled.
            "     SELECT conrelid, concat_ws(' ', pg_get_constraintdef(oid), (SELECT bool_and(tgenabled = 'O')"
            "       FROM pg_trigger WHERE tgconstraint = pg_constraint.oid))"
            "     FROM pg_constraint WHERE contype IN ('c', 'f', 'x')"
            "     UNION ALL SELECT indrelid, substring(pg_get_indexdef(indexrelid) FROM ' USING .*')"
            "     FROM pg_index WHERE indisunique) AS rules (of_table, held)"
            "   JOIN pg_class ON pg_class.oid = of_table WHERE relnamespace = current_schema()::regnamespace"
            " ) AS constraints (relname, held) GROUP BY 1",
            _GROUPING,
            list(append_only),
            _GROUPING,
        )
    )


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction that has written and not ended. `since` is None if its session
    belongs to another role.
    """

    who: str
    program: str
    # Its name; empty if it is this database.
    database: str
    since: datetime | None


def oldest_writer() -> OpenTransaction | None:
    """Return the oldest open transaction that has written, except the caller's own.

    It compares the ages of transaction ids: PostgreSQL hides the start times of other
    roles' sessions, but not these.
    """
    rows = _rows(
        "SELECT who, program, coalesce(nullif(place, current_database()), ''), since FROM ("
        "  SELECT 'process ' || pid, coalesce(application_name, ''), datname, xact_start, age(backend_xid)"
        "    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
        "  UNION ALL"
        "  SELECT 'prepared transaction ' || gid, '', database, prepared, age(transaction) FROM pg_prepared_xacts"
        ") AS open (who, program, place, since, age) ORDER BY age DESC LIMIT 1"
    )
    return OpenTransaction(*rows[0]) if rows else None


@dataclass(frozen=True)
class IdleSession:
    """A session that keeps a transaction open and does nothing."""

    process: int
    role: str
    seconds: int


def idle_sessions(*, longer_than: float) -> list[IdleSession]:
    """Return at most five sessions of this database that have been idle in a
    transaction for so many seconds, the longest first.
    """
    rows = _rows(
        "SELECT pid, coalesce(usename, '?'), extract(epoch FROM clock_timestamp() - state_change)::int"
        "  FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%' AND datname = current_database()"
        "   AND state_change < clock_timestamp() - make_interval(secs => %s) ORDER BY state_change LIMIT 5",
        longer_than,
    )
    return [IdleSession(*row) for row in rows]
