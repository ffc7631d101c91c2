"""Working hours: when a calendar is open, and when so much working time is over. Pure; it knows no rows.

Weekly hours are by the clock of the calendar's time zone. Where that clock is put back, hours that come twice are open
twice; hours that are left out are never open.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = 24 * 60
# So many days without any opening mean that there is none.
_LONGEST_CLOSED = 3 * 366


@dataclass(frozen=True)
class Calendar:
    """Weekly hours, Monday first: for each day pairs of minutes since midnight, in order, the end not included."""

    name: str
    zone: ZoneInfo
    weekly: tuple[tuple[tuple[int, int], ...], ...]
    holidays: Mapping[date, str] = field(default_factory=dict)


class NeverOpen(ValueError):
    """The calendar has no working hours, or a holiday on each of them."""


def is_open(calendar: Calendar, at: datetime) -> bool:
    """Return whether it is working time."""
    return next(((begin <= at) for begin, end in _spans(calendar, at) if end > at), False)


def next_opening(calendar: Calendar, at: datetime) -> datetime:
    """Return this time where it is working time, otherwise when the calendar opens next. Raises NeverOpen."""
    for begin, end in _spans(calendar, at):
        if end > at:
            return max(begin, at)
    raise NeverOpen(calendar.name)


def after_working_time(calendar: Calendar, start: datetime, duration: timedelta) -> datetime:
    """Return the first time by which so much working time has passed since `start`. Raises NeverOpen.

    That is inside working time or just where it ends; without a duration it is `start`.
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
    raise NeverOpen(calendar.name)


def _spans(calendar: Calendar, around: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the spans of working time in UTC, in order and apart, from the day before this time on."""
    day = around.astimezone(calendar.zone).date() - timedelta(days=1)
    until, closed_days = datetime.min.replace(tzinfo=UTC), 0
    while closed_days < _LONGEST_CLOSED:
        hours = () if day in calendar.holidays else calendar.weekly[day.weekday()]
        closed_days = 0 if hours else closed_days + 1
        for begin, end in hours:
            # Of an hour that comes twice the first one opens and the second one closes.
            opens = max(_moment(calendar.zone, day, begin, fold=0), until)
            closes = _moment(calendar.zone, day, end, fold=1)
            if closes > opens:
                yield opens, closes
                until = closes
        day += timedelta(days=1)


def _moment(zone: ZoneInfo, day: date, minute: int, *, fold: int) -> datetime:
    days, minutes = divmod(minute, DAY)
    local = datetime.combine(day + timedelta(days=days), time(minutes // 60, minutes % 60), tzinfo=zone)
    there = local.replace(fold=fold).astimezone(UTC)
    if there.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return there
    # A time that the clock leaves out: both ends of such hours are the moment at which it is put forward.
    return _put_forward(zone, there)


def _put_forward(zone: ZoneInfo, near: datetime) -> datetime:
    low, high = near - timedelta(hours=25), near + timedelta(hours=25)
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
