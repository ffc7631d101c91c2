"""One statement that tells several values, of which each is written once and kept: writing SQL costs more than asking.

What is kept holds no row's value: the keys that differ from one request to the next are named later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db.models.query import QuerySet

from common.postgres.rows import run

# A count stops here, so that it costs the same at any length of the queue.
COUNTED = 1000

# These stand, while a statement is written, for what is named later: words, a message's public id, the key of the
# person who asks, and that of a row. No row has such values.
NAMED_LATER = "{named later}"
ANY_ID = UUID(int=0)
ASKING = -(2**62)
ANY = ASKING + 1
_NAMED = (int, str, datetime, UUID)


@dataclass(frozen=True)
class Part:
    """One value of a statement that tells several: its SQL in brackets, and what goes into it."""

    sql: str
    values: tuple[Any, ...] = ()

    def naming(self, named: Mapping[Any, Any]) -> "Part":
        """Return the part with these values, by what stood for them."""
        return Part(self.sql, tuple(named.get(one, one) if isinstance(one, _NAMED) else one for one in self.values))


def count_of(rows: QuerySet[Any], *, most: int = COUNTED + 1) -> Part:
    """Tell how many rows there are; beyond COUNTED it only tells that there are more."""
    return _part(rows.order_by().values("pk")[:most], "(SELECT count(*) FROM ({sql}) AS told)", "0")


def list_of(rows: QuerySet[Any]) -> Part:
    """Tell the only column of some rows."""
    return _part(rows, "ARRAY({sql})", "NULL")


def any_of(rows: QuerySet[Any]) -> Part:
    """Tell whether there is any row."""
    return _part(rows.order_by().values("pk")[:1], "EXISTS({sql})", "false")


def first_of(*queries: QuerySet[Any]) -> Part:
    """Tell the only column of the first row, of the first of these queries that has one."""
    parts = [_part(rows[:1], "({sql})", "NULL") for rows in queries]
    return Part(
        f"COALESCE({', '.join(part.sql for part in parts)})", tuple(value for part in parts for value in part.values)
    )


def _part(rows: QuerySet[Any], written: str, empty: str) -> Part:
    try:
        sql, values = rows.query.sql_with_params()
    except EmptyResultSet:
        # Nothing can be in it, which Django knows without asking.
        return Part(empty)
    return Part(written.replace("{sql}", sql), tuple(values))


def told_together(parts: Mapping[str, Part], named: Mapping[Any, Any] | None = None) -> dict[str, Any]:
    """Return the value of each part, and the time as "clock", by one statement; `named` is what was named later."""
    values = [value for part in parts.values() for value in part.naming(named or {}).values]
    columns = ", ".join([*(part.sql for part in parts.values()), "clock_timestamp()"])
    return dict(zip((*parts, "clock"), run(f"SELECT {columns}", values).row(), strict=True))
