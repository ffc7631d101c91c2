"""A stored calendar as `opening` computes with it."""

import json
from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from policy.calendars.opening import Calendar, is_open
from policy.models import WorkCalendar


def calendar_of(row: WorkCalendar) -> Calendar:
    """Return the calendar of a row."""
    return _calendar(
        row.name, row.zone, json.dumps(row.weekly), json.dumps(row.holidays)
    )


def all_calendars() -> dict[int, Calendar]:
    """Return all calendars by their keys."""
    return {row.pk: calendar_of(row) for row in WorkCalendar.objects.all()}


@lru_cache(maxsize=256)
def _calendar(name: str, zone: str, weekly: str, holidays: str) -> Calendar:
    days = tuple(
        tuple((begin, end) for begin, end in day) for day in json.loads(weekly)
    )
    closed = {
        date.fromisoformat(day): called for day, called in json.loads(holidays).items()
    }
    return Calendar(name, ZoneInfo(zone), days, closed)


def is_working_time(row: WorkCalendar | None, at: datetime) -> bool:
    """Return whether a calendar is open; without one, always."""
    return row is None or is_open(calendar_of(row), at)
