"""Computes with working hours: whether a calendar is open, when it opens next, and when
a duration of working time is over; reads and writes hours as people type them. Only the
last three functions use the database's rows.

Weekly hours are by the clock of the calendar's time zone: a calendar is open whenever
that clock shows a time within them. When the clock is put back, hours that come twice
are open twice; when it is put forward, hours that it skips are not open.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from policy.models import WorkCalendar

# Minutes of a day.
DAY = 24 * 60
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
# Characters of the hours of one day, as typed.
MAX_LINE = 200
NOTE = "Such as 09:00-12:00, 13:00-17:00. Empty: closed. Closing before opening means the next day."
_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})")
_WRONG = "Write hours as 09:00-12:00, 13:00-17:00, in order. Empty: closed."
# A calendar that is closed for so long counts as never open.
_LONGEST_CLOSED = timedelta(days=3 * 366)
# How often the next opening of several calendars is looked for.
_MOST_OPENINGS = 400
# Clocks are put forward and back only at these minutes of UTC, in all time zones.
_QUARTER = 15
_MINUTE = timedelta(minutes=1)

Hours = Sequence[tuple[int, int]]
Weekly = tuple[tuple[tuple[int, int], ...], ...]


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
    there = at.astimezone(calendar.zone)
    minute = there.hour * 60 + there.minute
    return any(
        begin <= minute < end for begin, end in _hours_on(calendar, there.date())
    )


# Cached: many rules share their hours, and a page checks all of its rows for one time.
@lru_cache(maxsize=1024)
def next_common_opening(
    calendars: tuple[Calendar | None, ...], at: datetime
) -> datetime | None:
    """Return from when on all of these calendars are open, this time if they are; None
    if they never are, or if one was deleted.
    """
    for _ in range(_MOST_OPENINGS):
        later = at
        for one in calendars:
            begin, _ = next(_spans(one, at), (None, None)) if one else (None, None)
            if begin is None:
                return None
            later = max(later, begin)
        if later == at:
            return at
        # From the last of these openings on, look again.
        at = later
    return None


def next_closing(calendar: Calendar, at: datetime) -> datetime:
    """Return when the working time around this time ends, at midnight at the latest;
    this time if it is closed.
    """
    tomorrow = at.astimezone(calendar.zone).date() + timedelta(days=1)
    midnight = datetime.combine(tomorrow, time(), calendar.zone)
    end = at
    for begin, closes in _spans(calendar, at):
        if begin > end or end >= midnight:
            break
        end = closes
    return end


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
        if end - begin >= left:
            return begin + left
        left -= end - begin
    return None


def _spans(calendar: Calendar, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the working time from this time on as spans (begin, end) in UTC, in order
    and without overlap. None is longer than a quarter of an hour.
    """
    start = start.astimezone(UTC)
    at = start.replace(
        minute=start.minute // _QUARTER * _QUARTER, second=0, microsecond=0
    )
    closes = at
    while at < closes + _LONGEST_CLOSED:
        there = at.astimezone(calendar.zone)
        minute = there.hour * 60 + there.minute
        for first, last in _hours_on(calendar, there.date()):
            begin = at + max(first - minute, 0) * _MINUTE
            end = at + min(last - minute, _QUARTER) * _MINUTE
            if max(begin, start) < end:
                yield max(begin, start), end
                closes = end
        at += _QUARTER * _MINUTE


@lru_cache(maxsize=4096)
def _hours_on(calendar: Calendar, day: date) -> Hours:
    """Return the hours of a day, and those of the day before that end on it."""
    before = day - timedelta(days=1)
    # Only the last hours of a day may end on the next one.
    begun = 0
    if before not in calendar.holidays:
        ends = (end - DAY for _, end in calendar.weekly[before.weekday()])
        begun = max((0, *ends))
    today = () if day in calendar.holidays else calendar.weekly[day.weekday()]
    return ((0, begun), *((max(begin, begun), end) for begin, end in today))


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
