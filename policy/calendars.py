"""Computes with working hours: whether a calendar is open, when it opens next, and when
a duration of working time is over; reads and writes hours as people type them. Only the
last three functions use the database's rows.

Weekly hours are by the clock of the calendar's time zone: a calendar is open whenever
that clock shows a time within them. When the clock is put back, hours that come twice
are open twice; when it is put forward, hours that it skips are not open.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TypeVar
from zoneinfo import ZoneInfo

from policy.models import WorkCalendar

# Minutes of a day.
DAY = 24 * 60
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Characters of the hours of one day, as typed.
MAX_LINE = 200
NOTE = "Such as 09:00-12:00, 13:00-17:00. Empty: closed. An end before its beginning is on the next day."
_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})")
_WRONG = "Write hours as 09:00-12:00, 13:00-17:00, in order. Empty: closed."
# A calendar that is closed for this many days in a row counts as never open.
_LONGEST_CLOSED = 3 * 366

Weekly = tuple[tuple[tuple[int, int], ...], ...]
_Time = TypeVar("_Time", int, datetime)


@dataclass(frozen=True)
class Calendar:
    """Weekly hours and holidays. `weekly` has for each day, Monday first, pairs of
    begin and end in minutes since midnight; the end is not included.

    An end of more than `DAY` is on the next day. Hours belong to the day on which they
    begin: a holiday closes the hours that begin on it.
    """

    name: str
    zone: ZoneInfo
    weekly: Weekly
    holidays: Mapping[date, str] = field(default_factory=dict, hash=False)


# Calendars by their primary keys.
Calendars = Mapping[int, Calendar]


# Cached: many rules share their hours, and a page checks all of its rows for the same
# time.
@lru_cache(maxsize=1024)
def is_open(calendar: Calendar, at: datetime) -> bool:
    """Return whether this time is working time."""
    return next_opening(calendar, at) == at


def next_opening(calendar: Calendar, at: datetime) -> datetime | None:
    """Return this time if it is working time, otherwise when the calendar opens next;
    None if it never does.
    """
    spans = _spans(calendar, at)
    return next((max(begin, at) for begin, end in spans if end > at), None)


def next_closing(calendar: Calendar, at: datetime) -> datetime:
    """Return when the working time around this time ends, at midnight at the latest;
    this time if there is none any more.
    """
    return next((end for _, end in _spans(calendar, at) if end > at), at)


def after_working_time(
    calendar: Calendar, start: datetime, duration: timedelta
) -> datetime | None:
    """Return when `duration` of working time has passed since `start`; None if it never
    does. Without a duration that is `start`.

    The result is within working time, or exactly at the end of a span of it.
    """
    left = duration
    if left <= timedelta(0):
        return start
    for begin, end in _spans(calendar, start):
        begins = max(begin, start)
        if end <= begins:
            continue
        if end - begins >= left:
            return begins + left
        left -= end - begins
    return None


def is_within(one: Calendar, other: Calendar) -> bool:
    """Return whether `other` is open whenever `one` is. False also if their time zones
    differ, because then their hours cannot be compared.
    """
    if one.zone.key != other.zone.key or not set(other.holidays) <= set(one.holidays):
        return False
    return all(
        any(begin <= first and last <= end for begin, end in _joined(spans))
        for day, spans in zip(one.weekly, other.weekly, strict=True)
        for first, last in day
    )


def _spans(calendar: Calendar, around: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the spans of working time (begin, end) in UTC, in order and without
    overlap, from the day before this time on.
    """
    day = around.astimezone(calendar.zone).date() - timedelta(days=1)
    closed_days = 0
    while closed_days < _LONGEST_CLOSED:
        # The hours of this day, and those of the day before that end on it; all cut at
        # midnight.
        hours = []
        before = day - timedelta(days=1)
        if before not in calendar.holidays:
            began = calendar.weekly[before.weekday()]
            hours += [(0, end - DAY) for _, end in began if end > DAY]
        if day not in calendar.holidays:
            hours += [
                (begin, min(end, DAY)) for begin, end in calendar.weekly[day.weekday()]
            ]
        closed_days += 1
        if hours:
            closed_days = 0
            yield from _moments(calendar.zone, day, _joined(sorted(hours)))
        day += timedelta(days=1)


def _joined(spans: Iterable[tuple[_Time, _Time]]) -> list[tuple[_Time, _Time]]:
    """Return sorted spans with those joined that touch or overlap."""
    joined: list[tuple[_Time, _Time]] = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def _moments(
    zone: ZoneInfo, day: date, hours: Sequence[tuple[int, int]]
) -> list[tuple[datetime, datetime]]:
    """Return the hours of a day as spans in UTC. On a day on which the clock is
    changed, they are computed with the offset before the change and again with the one
    after it.
    """
    midnight = datetime.combine(day, time(), UTC)
    before, change, after = _offsets(zone, day)
    spans = []
    for begin, end in hours:
        opens = midnight + timedelta(minutes=begin)
        closes = midnight + timedelta(minutes=end)
        if change is None:
            spans.append((opens - before, closes - before))
        else:
            spans.append((opens - before, min(closes - before, change)))
            spans.append((max(opens - after, change), closes - after))
    return _joined(sorted(span for span in spans if span[0] < span[1]))


@lru_cache(maxsize=4096)
def _offsets(zone: ZoneInfo, day: date) -> tuple[timedelta, datetime | None, timedelta]:
    """Return (offset from UTC before, time of the change, offset after) for a change of
    the zone's clock on about this day; the time is None if there is no change.
    """
    low = datetime.combine(day, time(), UTC) - timedelta(hours=15)
    high = low + timedelta(hours=54)
    before, after = (
        at.astimezone(zone).utcoffset() or timedelta(0) for at in (low, high)
    )
    if before == after:
        return before, None, after
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return before, high.replace(microsecond=0), after


def read_day(typed: str) -> list[tuple[int, int]]:
    """Return typed hours of a day, such as "09:00-12:00, 13:00-17:00", as pairs of
    minutes since midnight. Raises ValueError with a sentence.

    Only the last pair may end on the next day.
    """
    hours = []
    last = -1
    for part in filter(None, map(str.strip, typed.split(","))):
        match = _SPAN.fullmatch(part)
        if match is None:
            raise ValueError(_WRONG)
        first_hour, first_minute, hour, minute = map(int, match.groups())
        begin = first_hour * 60 + first_minute
        end = hour * 60 + minute
        if max(first_minute, minute) > 59 or not last < begin < DAY or end > DAY:
            raise ValueError(_WRONG)
        last = end if end > begin else end + DAY
        hours.append((begin, last))
    return hours


def write_day(spans: Sequence[Sequence[int]]) -> str:
    """Return the hours of a day as text that `read_day` can read."""
    return ", ".join(
        f"{clock(begin)}-{clock(end if end <= DAY else end - DAY)}"
        for begin, end in spans
    )


def clock(minute: int) -> str:
    """Return a minute of the day as a time: 540 is "09:00"."""
    return f"{minute // 60:02}:{minute % 60:02}"


def calendar_of(row: WorkCalendar) -> Calendar:
    """Return the calendar of a database row."""
    weekly = tuple(tuple((begin, end) for begin, end in day) for day in row.weekly)
    holidays = {date.fromisoformat(day): name for day, name in row.holidays.items()}
    return Calendar(row.name, ZoneInfo(row.zone), weekly, holidays)


def all_calendars() -> Calendars:
    """Return all calendars by their keys."""
    return {row.pk: calendar_of(row) for row in WorkCalendar.objects.all()}


def is_working_time(row: WorkCalendar | None, at: datetime) -> bool:
    """Return whether a calendar is open; True if there is none."""
    return row is None or is_open(calendar_of(row), at)
