"""Rows without the ORM where it costs too much, and statements that are sent in one batch.

Everything goes through Django's own connection and its transaction; only how statements are made and sent differs.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any

from django.db import DatabaseError, models
from django.db import connection as database
from django.db.models.expressions import DatabaseDefault


class Answer:
    """The rows of a statement; none until it was sent."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.rows: Sequence[tuple[Any, ...]] | None = None

    def one(self) -> tuple[Any, ...] | None:
        """Return the first row, None where there is none."""
        assert self.rows is not None, "its statement has not been sent yet"
        return self.rows[0] if self.rows else None

    def row(self) -> tuple[Any, ...]:
        """Return the first row of a statement that always has one."""
        found = self.one()
        assert found is not None, "a row was expected"
        return found


_unbatched: ContextVar[bool] = ContextVar("unbatched", default=False)
_batch: ContextVar[list[Answer] | None] = ContextVar("batch", default=None)


@contextlib.contextmanager
def batch() -> Iterator[None]:
    """Send the statements of the block in one message at its end; their rows are there after the block, not before.

    Only what goes through `run` and `insert` is batched. The first statement that fails ends the block with its error,
    and the transaction can only be rolled back. Relies on parameters being bound on the client, Django's default.
    """
    if _unbatched.get() or _batch.get() is not None:
        yield
        return
    waiting: list[Answer] = []
    token = _batch.set(waiting)
    try:
        yield
    finally:
        _batch.reset(token)
    _send(waiting)


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
    return _batch.get() is not None


def run(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Answer:
    """Execute one statement, at once or with its batch, and return its answer."""
    waiting = _batch.get()
    if waiting is None:
        return _at_once(sql, parameters)
    answer = _merged(sql, parameters)
    waiting.append(answer)
    return answer


def run_apart(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Answer:
    """Execute one statement whose failure costs nothing of the transaction but the statement itself."""
    answer = _merged(sql, parameters)
    try:
        _send([Answer("SAVEPOINT apart"), answer, Answer("RELEASE SAVEPOINT apart")])
    except DatabaseError:
        _send([Answer("ROLLBACK TO SAVEPOINT apart"), Answer("RELEASE SAVEPOINT apart")])
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
    places = ", ".join(["%s"] * len(columns))
    conflict = " ON CONFLICT DO NOTHING" if unless_there else ""
    return f'INSERT INTO "{table}" ({names}) VALUES ({places}){conflict} RETURNING "{key}"'  # noqa: S608 - names of ours


def _at_once(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Answer:
    answer = Answer(sql)
    with database.cursor() as cursor:
        cursor.execute(sql, parameters)
        answer.rows = cursor.fetchall() if cursor.description else []
    return answer


def _merged(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Answer:
    database.ensure_connection()
    with database.wrap_database_errors, database.connection.cursor() as cursor:
        return Answer(cursor.mogrify(sql, parameters))


def _send(answers: list[Answer]) -> None:
    if not answers:
        return
    with database.cursor() as cursor:
        # Parameters are in the text already; passing none keeps a percent sign from being read as one.
        cursor.execute(";\n".join(answer.sql for answer in answers))
        for answer in answers:
            answer.rows = cursor.fetchall() if cursor.description else []
            cursor.nextset()
