"""Read several values with one SQL statement.

Callers cache the queries, because compiling SQL in Django takes longer than running it here. A cached query contains
placeholders instead of the values that differ from one request to the next; `read_values` replaces them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db.models.query import QuerySet

from common.postgres.rows import run

# The highest number that is counted exactly, so that the cost of a count does not grow with the queue.
COUNTED = 1000

# Placeholders in a cached query, for a text, a message's public id, the requesting person's key and another row's key.
# No row has these values.
NAMED_LATER = "{named later}"
ANY_ID = UUID(int=0)
ASKING = -(2**62)
ANY = ASKING + 1
_PLACEHOLDER_TYPES = (int, str, datetime, UUID)


@dataclass(frozen=True)
class ValueQuery:
    """The SQL expression for one value of a statement, in parentheses, and its parameters."""

    sql: str
    values: tuple[Any, ...] = ()

    def with_values(self, values: Mapping[Any, Any]) -> "ValueQuery":
        """Return the query with its placeholders replaced; `values` maps each placeholder to its value."""
        return ValueQuery(
            self.sql,
            tuple(values.get(one, one) if isinstance(one, _PLACEHOLDER_TYPES) else one for one in self.values),
        )


def count_of(rows: QuerySet[Any], *, most: int = COUNTED + 1) -> ValueQuery:
    """Count the rows, at most up to COUNTED + 1, which means "more than COUNTED"."""
    return _value_query(rows.order_by().values("pk")[:most], "(SELECT count(*) FROM ({sql}) AS counted)", "0")


def list_of(rows: QuerySet[Any]) -> ValueQuery:
    """List the values of the rows' only column."""
    return _value_query(rows, "ARRAY({sql})", "NULL")


def any_of(rows: QuerySet[Any]) -> ValueQuery:
    """Check whether there is any row."""
    return _value_query(rows.order_by().values("pk")[:1], "EXISTS({sql})", "false")


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
    parameters = [value for query in queries.values() for value in query.with_values(values or {}).values]
    columns = ", ".join([*(query.sql for query in queries.values()), "clock_timestamp()"])
    return dict(zip((*queries, "clock"), run(f"SELECT {columns}", parameters).row(), strict=True))
