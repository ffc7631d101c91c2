"""Rows without the ORM where it costs too much, and statements that are sent together, by psycopg's pipeline mode.

Everything goes through Django's own connection and its transaction; only how statements are made and sent differs.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cache, cached_property
from typing import Any

from django.db import DatabaseError, models
from django.db import connection as database
from django.db.models.expressions import DatabaseDefault


class Answer:
    """The rows of a statement; none until it was sent."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @cached_property
    def rows(self) -> Sequence[tuple[Any, ...]]:
        """Every row; none for a statement that returns nothing."""
        with self._cursor as cursor:
            assert cursor.pgresult is not None, "its statement has not been sent yet"
            # Not `description`, which describes each column.
            return cursor.fetchall() if cursor.pgresult.nfields else []

    def one(self) -> tuple[Any, ...] | None:
        """Return the first row, None where there is none."""
        return self.rows[0] if self.rows else None

    def row(self) -> tuple[Any, ...]:
        """Return the first row of a statement that always has one."""
        found = self.one()
        assert found is not None, "a row was expected"
        return found


_unbatched: ContextVar[bool] = ContextVar("unbatched", default=False)


@contextlib.contextmanager
def batch() -> Iterator[None]:
    """Send the statements of the block together at its end, without waiting for the answer to each.

    The first statement that fails ends the block with its error, and the transaction can only be rolled back.
    """
    database.ensure_connection()
    if _unbatched.get() or in_batch():
        yield
        return
    with database.wrap_database_errors, database.connection.pipeline():
        yield


@contextlib.contextmanager
def unbatched() -> Iterator[None]:
    """Send each statement of the block on its own, so that each error is raised where it belongs."""
    token = _unbatched.set(True)
    try:
        yield
    finally:
        _unbatched.reset(token)


def in_batch() -> bool:
    """Whether statements are being batched: then a savepoint rescues nothing."""
    return bool(database.connection and database.connection.info.pipeline_status)


def run(sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None, *, prepare: bool = False) -> Answer:
    """Execute one statement, at once or with its batch, and return its answer.

    With `prepare` PostgreSQL plans it once for each connection. Its text must then be one of few, and what its plan
    depends on must stand in the text.
    """
    cursor = database.prepared_cursor() if prepare else database.cursor()  # type: ignore[attr-defined]
    cursor.execute(sql, parameters)
    answer = Answer(cursor)
    if not in_batch():
        _ = answer.rows
    return answer


def run_apart(
    sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None, *, prepare: bool = False
) -> Answer:
    """Execute one statement whose failure costs nothing of the transaction but the statement itself."""
    try:
        with batch():
            run("SAVEPOINT apart")
            answer = run(sql, parameters, prepare=prepare)
            run("RELEASE SAVEPOINT apart")
    except DatabaseError:
        run("ROLLBACK TO SAVEPOINT apart")
        run("RELEASE SAVEPOINT apart")
        raise
    return answer


def insert(row: models.Model, *, unless_there: bool = False) -> Answer:
    """Insert a row; the answer has its key. Database defaults are left to the database.

    With `unless_there` the answer is empty where a unique index finds the row there already.
    """
    meta = type(row)._meta
    columns, values = [], []
    for field in meta.concrete_fields:
        value = getattr(row, field.attname)
        if (value is None and field.primary_key) or isinstance(value, DatabaseDefault):
            continue
        columns.append(field.column)
        values.append(field.get_db_prep_save(value, connection=database))
    return run(_insert_sql(meta.db_table, tuple(columns), meta.pk.column if meta.pk else "", unless_there), values)


@cache
def _insert_sql(table: str, columns: tuple[str, ...], key: str, unless_there: bool) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    placeholders = ", ".join(["%s"] * len(columns))
    conflict = " ON CONFLICT DO NOTHING" if unless_there else ""
    return f'INSERT INTO "{table}" ({names}) VALUES ({placeholders}){conflict} RETURNING "{key}"'  # noqa: S608
