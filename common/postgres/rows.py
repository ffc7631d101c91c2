"""Rows without the ORM where it costs too much, and statements that are sent together, by psycopg's pipeline mode.

Everything goes through Django's own connection and its transaction; only how statements are made and sent differs.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models
from django.db import connection as database
from django.db.models.expressions import DatabaseDefault
from psycopg.sql import Literal


class Answer:
    """The rows of a statement; none until it was sent."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @cached_property
    def rows(self) -> Sequence[tuple[Any, ...]]:
        """Every row; none for a statement that returns nothing."""
        # Of psycopg's own cursor, which has all rows already: Django's wrapper would cost more than reading them.
        cursor = self._cursor.cursor
        assert cursor.pgresult is not None, "its statement has not been sent yet"
        rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.pgresult.nfields else []
        cursor.close()
        return rows

    def one(self) -> tuple[Any, ...] | None:
        """Return the first row, None where there is none."""
        return self.rows[0] if self.rows else None

    def row(self) -> tuple[Any, ...]:
        """Return the first row of a statement that always has one."""
        found = self.one()
        assert found is not None, "a row was expected"
        return found


@contextlib.contextmanager
def batch() -> Iterator[None]:
    """Send the statements of the block together at its end, without waiting for the answer to each.

    The first statement that fails ends the block with its error, and the transaction can only be rolled back.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    if in_batch():
        yield
        return
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def in_batch() -> bool:
    """Whether statements are being batched: then a savepoint rescues nothing."""
    connection = connections[DEFAULT_DB_ALIAS].connection
    return connection is not None and bool(connection.pgconn.pipeline_status)


def run(sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None, *, prepare: bool = False) -> Answer:
    """Execute one statement, at once or with its batch, and return its answer.

    With `prepare` PostgreSQL plans it once for each connection. Its text must then be one of few, and what its plan
    depends on must stand in the text.
    """
    connection: Any = connections[DEFAULT_DB_ALIAS]
    if prepare:
        cursor = connection.execute_prepared(sql, parameters or ())
    else:
        cursor = connection.cursor()
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


# An empty value of one of these types stands in the text of a statement: most columns of a new row are empty.
_LITERAL_TYPES = (type(None), bool, int, str, list, dict)


def insert(row: models.Model, *, unless_there: bool = False) -> Answer:
    """Insert a row by a prepared statement; the answer has its key. Database defaults are left to the database.

    With `unless_there` the answer is empty where a unique index finds the row there already.
    """
    model, connection = type(row), connections[DEFAULT_DB_ALIAS]
    columns, values = [], []
    for name, field in _fields(model):
        value = getattr(row, name)
        if (value is None and field.primary_key) or isinstance(value, DatabaseDefault):
            continue
        kind: Any = type(value)
        if not value and kind in _LITERAL_TYPES:
            columns.append((field.column, _empty_literal(field, kind)))
        else:
            columns.append((field.column, "%s"))
            # A text needs no preparation, which Django has three calls for.
            is_text = kind is str and type(field) in (models.CharField, models.TextField)
            values.append(value if is_text else field.get_db_prep_save(value, connection=connection))
    return run(_insert_sql(model, tuple(columns), unless_there), values, prepare=True)


@cache
def _fields(model: type[models.Model]) -> tuple[tuple[str, "models.Field[Any, Any]"], ...]:
    return tuple((field.attname, field) for field in model._meta.concrete_fields)


@cache
def _empty_literal(field: "models.Field[Any, Any]", kind: type[Any]) -> str:
    return Literal(field.get_db_prep_save(kind(), connection=database)).as_string(database.connection)


@cache
def _insert_sql(model: type[models.Model], columns: tuple[tuple[str, str], ...], unless_there: bool) -> str:
    names = ", ".join(f'"{column}"' for column, _ in columns)
    values = ", ".join(value for _, value in columns)
    conflict = " ON CONFLICT DO NOTHING" if unless_there else ""
    table, key = model._meta.db_table, model._meta.pk.column
    return f'INSERT INTO "{table}" ({names}) VALUES ({values}){conflict} RETURNING "{key}"'  # noqa: S608
