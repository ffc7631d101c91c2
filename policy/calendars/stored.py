"""A stored calendar as `opening` computes with it."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from policy.calendars.opening import Calendar, NeverOpen, after_working_time, is_open
from policy.models import WorkCalendar


def calendar_of(row: WorkCalendar) -> Calendar:
    """Return the calendar of a row."""
    weekly = tuple(tuple((begin, end) for begin, end in day) for day in row.weekly)
    holidays = {date.fromisoformat(day): name for day, name in row.holidays.items()}
    return Calendar(row.name, ZoneInfo(row.zone), weekly, holidays)


def working_time_after(row: WorkCalendar | None, start: datetime, duration: timedelta) -> datetime | None:
    """Return when so much working time has passed; without a calendar all time counts. None where it is never open."""
    if row is None:
        return start + duration
    try:
        return after_working_time(calendar_of(row), start, duration)
    except NeverOpen:
        return None


def is_working_time(row: WorkCalendar | None, at: datetime) -> bool:
    """Return whether a calendar is open; without one, always."""
    return row is None or is_open(calendar_of(row), at)
