"""Dates as people ask for them: a word, a year, a month, a day or a moment, each by the
clock of whoever asks. Pure.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

EXAMPLES = "Dates are 2026-11-21, 2026-11, 2026, today, yesterday, 7d or “last 7 days”, and 2026-11-21T10:42."

_LAST = re.compile(r"(?:last[\s+_-]*)?(\d{1,4})[\s+_-]*d(?:ays?)?")
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[t ](\d\d:\d\d)(:\d\d)?(\.\d{1,6})?(z?)")
_WORDS: dict[str, Callable[[date], tuple[date, date]]] = {
    "today": lambda today: (today, today),
    "yesterday": lambda today: (today - timedelta(days=1), today - timedelta(days=1)),
    "this week": lambda today: (today - timedelta(days=today.weekday()), today),
    "this month": lambda today: (today.replace(day=1), today),
    "this year": lambda today: (today.replace(month=1, day=1), today),
}


@dataclass(frozen=True)
class Span:
    """A stretch of time from `begins`, up to and without `ends`, and the one spelling
    of what was asked.
    """

    begins: datetime
    ends: datetime
    written: str


def read_span(asked: str, *, zone: tzinfo, now: datetime) -> Span:
    """Return the time that the words mean in this zone. Raises ValueError where they
    mean none.
    """
    words = " ".join(asked.strip().lower().replace("+", " ").replace("_", " ").split())
    if found := _MOMENT.fullmatch(words):
        # A moment begins and ends at once: what is asked for begins with it, or stops
        # before it.
        text = f"{found[1]}T{found[2]}{found[3] or ':00'}"
        fraction = found[4] or ""
        at = datetime.fromisoformat(text + (fraction.ljust(7, "0") if fraction else ""))
        _check_year(at.year)
        at = at.replace(tzinfo=UTC if found[5] else zone).astimezone(UTC)
        return Span(at, at, spelled(at) if found[5] else text + fraction)
    today = now.astimezone(zone).date()
    if words.replace("-", " ") in _WORDS:
        words = words.replace("-", " ")
        first, last = _WORDS[words](today)
    elif days := _LAST.fullmatch(words):
        number = int(days[1])
        if not number:
            raise ValueError(asked)
        first = today - timedelta(days=number - 1)
        last = today
        words = f"last {number} days"
    elif found := _DAY.fullmatch(words):
        year = int(found[1])
        day = int(found[3] or 0)
        _check_year(year)
        first = date(year, int(found[2] or 1), day or 1)
        last = date(year, int(found[2] or 12), day or 1)
        words = f"{year:04d}"
        if found[2]:
            words += f"-{first.month:02d}"
        if day:
            words += f"-{day:02d}"
        else:
            last = date(last.year + last.month // 12, last.month % 12 + 1, 1)
            last -= timedelta(days=1)
    else:
        raise ValueError(asked)
    try:
        return Span(
            _midnight(first, zone), _midnight(last + timedelta(days=1), zone), words
        )
    except OverflowError:
        raise ValueError(asked) from None


def spelled(at: datetime) -> str:
    """Return an exact moment as `read_span` reads it in any zone."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}{f'.{utc.microsecond:06d}' if utc.microsecond else ''}Z"


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Return when the day began there, which where clocks change need not be 24 hours
    after the day before did.
    """
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _check_year(year: int) -> None:
    if not 1970 <= year <= 9000:
        raise ValueError(year)
