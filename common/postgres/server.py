"""What PostgreSQL says of itself: snapshots, sessions and catalogs. By SQL, because
none of these has a model.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection


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


def _rows(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
