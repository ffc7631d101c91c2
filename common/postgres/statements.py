"""Read several values, or rows of a model, with one SQL statement that is compiled and planned once.

Callers cache the queries, because compiling SQL in Django takes longer than running it here. A cached query contains
placeholders for the values that differ from one request to the next. They become parameters of a prepared statement,
so that PostgreSQL plans it once for each connection: it spends ten times longer on planning these statements than on
running them. All other values become literals, because a plan for unknown values could use no partial index.
"""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection as database
from django.db.models import Model
from django.db.models.query import QuerySet
from django.db.models.sql import UpdateQuery
from psycopg.sql import Literal

from common.postgres.rows import run

# The highest number that is counted exactly, so that the cost of a count does not grow with the queue.
COUNTED = 1000

# Placeholders in a cached query, for a text, a message's public id, the requesting person's key and another row's key.
# No row has these values.
NAMED_LATER = "{named later}"
ANY_ID = UUID(int=0)
ASKING = -(2**62)
ANY = ASKING + 1
Row = TypeVar("Row")
_PLACEHOLDER_TYPES = (int, str, datetime, UUID)


# A parameter's position in SQL, or an escaped percent sign.
_POSITION = re.compile("%[%s]")


@dataclass(frozen=True, eq=False)
class ValueQuery:
    """The SQL expression for one value of a statement, in parentheses, and its parameters."""

    sql: str
    values: tuple[Any, ...] = ()
    # The values of placeholders that are known already.
    named: Mapping[Any, Any] = field(default_factory=dict)
    # The SQL with literals, by which of the values are placeholders.
    _texts: dict[tuple[bool, ...], str] = field(default_factory=dict, repr=False)

    def with_values(self, values: Mapping[Any, Any]) -> "ValueQuery":
        """Return the query with its placeholders replaced; `values` maps each placeholder to its value."""
        return replace(self, named={**self.named, **values})

    def prepared(self, values: Mapping[Any, Any]) -> tuple[str, list[Any]]:
        """Return the SQL to prepare, and the parameters for it."""
        named = {**self.named, **values}
        is_named = tuple(isinstance(one, _PLACEHOLDER_TYPES) and one in named for one in self.values)
        if is_named not in self._texts:
            self._texts[is_named] = self._with_literals(is_named)
        parameters = [named[one] for one, is_parameter in zip(self.values, is_named, strict=True) if is_parameter]
        return self._texts[is_named], parameters

    def _with_literals(self, is_named: tuple[bool, ...]) -> str:
        values = iter(zip(self.values, is_named, strict=True))

        def literal(position: re.Match[str]) -> str:
            if position[0] == "%%":
                return "%%"
            value, is_parameter = next(values)
            return "%s" if is_parameter else Literal(value).as_string(database.connection).replace("%", "%%")

        database.ensure_connection()
        return _POSITION.sub(literal, self.sql)


def count_of(rows: QuerySet[Any], *, most: int = COUNTED + 1) -> ValueQuery:
    """Count the rows, at most up to COUNTED + 1, which means "more than COUNTED"."""
    return _value_query(rows.order_by().values("pk")[:most], "(SELECT count(*) FROM ({sql}) AS counted)", "0")


def list_of(rows: QuerySet[Any]) -> ValueQuery:
    """List the values of the rows' only column."""
    return _value_query(rows, "ARRAY({sql})", "NULL")


def any_of(rows: QuerySet[Any]) -> ValueQuery:
    """Check whether there is any row."""
    return _value_query(rows.order_by().values("pk")[:1], "EXISTS({sql})", "false")


def update_of(rows: QuerySet[Any], **fields: Any) -> ValueQuery:
    """Return the statement that updates these rows, without parentheses."""
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(fields)
    sql, values = query.get_compiler(connection=database).as_sql()
    return ValueQuery(sql, tuple(values))


def first_of(*queries: QuerySet[Any]) -> ValueQuery:
    """Return the only column of the first row of the first query that has a row."""
    first_rows = [_value_query(rows[:1], "({sql})", "NULL") for rows in queries]
    sql = f"COALESCE({', '.join(query.sql for query in first_rows)})"
    return ValueQuery(sql, tuple(value for query in first_rows for value in query.values))


def _value_query(rows: QuerySet[Any], template: str, if_empty: str) -> ValueQuery:
    try:
        sql, values = rows.query.sql_with_params()
    except EmptyResultSet:
        # Django knows without a query that no row can match.
        return ValueQuery(if_empty)
    return ValueQuery(template.replace("{sql}", sql), tuple(values))


def read_values(queries: Mapping[str, ValueQuery], values: Mapping[Any, Any] | None = None) -> dict[str, Any]:
    """Return the value of each query, and the database's time as "clock", with one statement.

    `values` maps the placeholders in the queries to their values.
    """
    prepared = [query.prepared(values or {}) for query in queries.values()]
    columns = ", ".join([*(sql for sql, _ in prepared), "clock_timestamp()"])
    parameters = [value for _, parameters in prepared for value in parameters]
    answer = run(f"SELECT {columns}", parameters, prepare=True)
    return dict(zip((*queries, "clock"), answer.row(), strict=True))


def array_of(keys: Iterable[int]) -> str:
    """Return keys as PostgreSQL writes an array, for a placeholder that is a text."""
    return "{" + ",".join(map(str, keys)) + "}"


def give_prefetched(row: Model, name: str, related: Sequence[Any]) -> None:
    """Give a row its related rows as if they had been prefetched."""
    rows = getattr(row, name).all()
    rows._result_cache = list(related)
    row.__dict__.setdefault("_prefetched_objects_cache", {})[name] = rows


class RowQuery(Generic[Row]):
    """The rows of a queryset by one prepared statement; prefetches are followed as usual."""

    def __init__(self, rows: QuerySet[Any, Row]) -> None:
        self._rows = rows
        self._compiler = rows.query.get_compiler(connection=database)
        try:
            sql, values = self._compiler.as_sql()
            # How columns become values of fields is the same each time.
            converters = self._compiler.get_converters([column for column, *_ in self._compiler.select])
            self._compiler.get_converters = lambda _: converters
        except EmptyResultSet:
            sql, values = "", ()
        self._query = ValueQuery(sql, tuple(values))

    def read(self, values: Mapping[Any, Any]) -> list[Row]:
        """Return the rows; `values` maps the placeholders in the query to their values."""
        if not self._query.sql:
            return []
        sql, parameters = self._query.prepared(values)
        compiler: Any = copy.copy(self._compiler)
        compiler.execute_sql = lambda *_, **__: [run(sql, parameters, prepare=True).rows]
        rows: Any = self._rows.all()
        rows.query.get_compiler = lambda *_, **__: compiler
        return list(rows)

    def first(self, values: Mapping[Any, Any]) -> Row | None:
        """Return the first row, None where there is none."""
        return next(iter(self.read(values)), None)
