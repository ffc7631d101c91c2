"""Where a page of the queue begins, as its address writes it: after a row, by what the order compares. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_NUMBER = re.compile(r"x|[0-9]{1,18}")
_MAX_NUMBER = 2**31 - 1
# What each order compares before the key.
_COMPARED = {"oldest": ("time",), "newest": ("time",), "riskiest": ("number", "time"), "soonest": ("end", "time")}


@dataclass(frozen=True)
class Place:
    """`values` are what the order compares, times as numbers; `since` is when the paging began."""

    values: tuple[int | None, ...]
    key: int
    since: int = 0

    def __str__(self) -> str:
        written = ["x" if value is None else str(value) for value in self.values]
        return "-".join([*written, str(self.key), *([str(self.since)] if self.since else [])])


def read_place(written: str, *, order: str) -> Place | None:
    """Read a place in this order; what is ill-formed for it is the first page."""
    kinds = (*_COMPARED[order], "key")
    parts = written.split("-")
    if len(parts) not in (len(kinds), len(kinds) + 1) or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = [None if part == "x" else int(part) for part in parts]
    since = numbers[len(kinds)] if len(numbers) > len(kinds) else 0
    if since is None or not _is_time(since) or not all(map(_fits, numbers, kinds)):
        return None
    *values, key = numbers[: len(kinds)]
    return Place(tuple(values), key or 0, since)


def _fits(number: int | None, kind: str) -> bool:
    """What expires may do so never; whatever else is compared is known."""
    if number is None:
        return kind == "end"
    return {"number": number <= _MAX_NUMBER, "key": True}.get(kind, _is_time(number))


def _is_time(microseconds: int) -> bool:
    try:
        at_time(microseconds)
    except (OverflowError, OSError, ValueError):
        return False
    return True


def at_time(microseconds: int) -> datetime:
    """Return the time that an address wrote as a number; exactly, so that no row is shown twice or left out."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)


def as_number(at: datetime) -> int:
    """Return a time as the address writes it."""
    return int(at.timestamp()) * 1_000_000 + at.microsecond
