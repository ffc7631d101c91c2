"""Pages by cursor: the cursor is the id of the last row, opaque to clients; ids are in order of creation."""

import re
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from gateway.errors import Invalid

_CURSOR = re.compile(r"[0-9A-Za-z]{1,40}", re.ASCII)
MAX_OFFSET = 1_000_000


class HasKey(Protocol):
    """Anything with a primary key."""

    pk: Any


Row = TypeVar("Row", bound=HasKey)


def clamp(value: str | None, *, default: int, most: int) -> int:
    """Return a `limit` between 1 and `most`; what is no number is the default, as clients expect no error here."""
    try:
        return max(1, min(int(value or default), most))
    except ValueError:
        return default


def read_offset(value: str | None) -> int:
    """Return an `offset` of zero or more."""
    try:
        return max(0, min(int(value or 0), MAX_OFFSET))
    except ValueError:
        return 0


def read_cursor(value: str | None) -> str | None:
    """Return the id in a cursor. Raises Invalid for what cannot be one."""
    if not value:
        return None
    if not _CURSOR.fullmatch(value):
        raise Invalid("cursor: is not one that this list gave.", field="cursor")
    return value


def cut(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], str | None]:
    """Return the page of at most `limit` rows out of one row more, and the cursor of the next page."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], str(rows[limit - 1].pk)


def as_number(cursor: str) -> int:
    """Return the id in a cursor of a list that counts its rows. Raises Invalid."""
    if not cursor.isdecimal() or len(cursor) > 18:
        raise Invalid("cursor: is not one that this list gave.", field="cursor")
    return int(cursor)
