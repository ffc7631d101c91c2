"""Rows by hand where Django's ORM costs too much, and statements that travel together.

Everything goes through Django's own connection and its transaction; only how statements are made and sent differs.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

from django.db import connection as database
from django.db import models
from django.db.backends.utils import CursorWrapper
from django.db.models.expressions import DatabaseDefault

_one_by_one: ContextVar[bool] = ContextVar("one_by_one", default=False)
_together: ContextVar[bool] = ContextVar("together", default=False)


@contextlib.contextmanager
def pipelined() -> Iterator[None]:
    """Send the statements of the block together; their results are there after the block, not before.

    Only `run` and `insert` may be used inside: Django's own queries would read row counts that are not there yet. The
    first statement that fails ends the block with its error and leaves nothing but to roll the transaction back.
    """
    if _one_by_one.get() or _together.get():
        yield
        return
    database.ensure_connection()
    token = _together.set(True)
    try:
        with database.wrap_database_errors, database.connection.pipeline():
            yield
    finally:
        _together.reset(token)


@contextlib.contextmanager
def one_by_one() -> Iterator[None]:
    """Let no statement of the block travel with others, so that each error is found where it belongs."""
    token = _one_by_one.set(True)
    try:
        yield
    finally:
        _one_by_one.reset(token)


def travels_together() -> bool:
    """Whether the statements of now are sent together: then a savepoint can rescue nothing."""
    return _together.get()


def run(sql: str, parameters: list[Any] | tuple[Any, ...] = ()) -> CursorWrapper:
    """Execute one statement and return its cursor, to be read at once or, inside `pipelined`, after the block."""
    cursor = database.cursor()
    cursor.execute(sql, parameters)
    return cursor


def insert(row: models.Model, *, unless_there: bool = False) -> CursorWrapper:
    """Insert a row as it stands and return the cursor that has its key; what the database fills in is left to it.

    With `unless_there` the cursor has no row where a unique index says that the row is there already.
    """
    meta = type(row)._meta
    fields, values = [], []
    for column in meta.concrete_fields:
        value = getattr(row, column.attname)
        if (value is None and column.primary_key) or isinstance(value, DatabaseDefault):
            continue
        fields.append(column.column)
        values.append(column.get_db_prep_save(value, connection=database))
    return run(_insert_sql(meta.db_table, tuple(fields), meta.pk.column if meta.pk else "", unless_there), values)


@cache
def _insert_sql(table: str, columns: tuple[str, ...], key: str, unless_there: bool) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    places = ", ".join(["%s"] * len(columns))
    conflict = " ON CONFLICT DO NOTHING" if unless_there else ""
    return f'INSERT INTO "{table}" ({names}) VALUES ({places}){conflict} RETURNING "{key}"'  # noqa: S608 - names of ours
