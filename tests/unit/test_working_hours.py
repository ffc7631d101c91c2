"""Laws of working time: it never runs backwards, adds up, ends in no closed time, and
is right at daylight saving.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from policy.calendars import (
    DAY,
    Calendar,
    after_working_time,
    is_open,
)

ZONES = (
    "Europe/Berlin America/New_York Australia/Lord_Howe America/Santiago Asia/Kathmandu"
)
FIRST = datetime(2026, 3, 20, tzinfo=UTC)
# From before one change of the clocks until after the other, in minutes.
LONG = 235 * DAY


@st.composite
def days(draw):
    """Up to two spans of one day, in order, the last of which may end on the next day."""
    ends = sorted(draw(st.sets(st.integers(0, DAY), max_size=4)))
    spans = [span for span in zip(ends[::2], ends[1::2], strict=False) if span[0] < DAY]
    if spans and draw(st.booleans()):
        begin, _ = spans.pop()
        spans.append((begin, begin + draw(st.integers(1, DAY))))
    return tuple(spans)


holidays = st.dictionaries(
    st.integers(0, 250).map(lambda number: FIRST.date() + timedelta(days=number)),
    st.just("Holiday"),
    max_size=20,
)
# Open at least on Wednesdays, which no holiday closes for ever.
calendars = st.builds(
    lambda zone, weekly, off: Calendar(
        "Any", ZoneInfo(zone), (*weekly[:2], weekly[2] or ((60, 61),), *weekly[3:]), off
    ),
    st.sampled_from(ZONES.split()),
    st.tuples(*[days()] * 7),
    holidays,
)
moments = st.integers(0, LONG).map(lambda minutes: FIRST + timedelta(minutes=minutes))
# About days on which the clock of one of the zones is put forward or back.
CHANGES = "2026-03-08 2026-03-29 2026-04-04 2026-10-03 2026-10-25 2026-11-01"
about_changes = st.builds(
    lambda day, minutes: (
        datetime.fromisoformat(f"{day}T12:00Z") + timedelta(minutes=minutes)
    ),
    st.sampled_from(CHANGES.split()),
    st.integers(-2 * DAY, 2 * DAY),
)


@given(calendars, moments, st.timedeltas(timedelta(minutes=1), timedelta(hours=60)))
def test_working_time_never_ends_inside_closed_time(calendar, at, lasting):
    end = after_working_time(calendar, at, lasting)
    assert is_open(calendar, end - timedelta(microseconds=1))
    assert end - at >= lasting


@given(calendars, about_changes, st.sets(st.integers(-1, 1)))
def test_it_is_open_whenever_its_clock_shows_a_time_within_its_hours(calendar, at, off):
    there = at.astimezone(calendar.zone)
    closed = {there.date() + timedelta(days=day): "Off" for day in off}
    calendar = replace(calendar, holidays=closed)
    minute = there.hour * 60 + there.minute

    def hours_of(day):
        return () if day in closed else calendar.weekly[day.weekday()]

    today, yesterday = there.date(), there.date() - timedelta(days=1)
    assert is_open(calendar, at) == (
        any(begin <= minute < end for begin, end in hours_of(today))
        or any(minute + DAY < end for _, end in hours_of(yesterday))
    )


@given(calendars, st.sets(st.integers(0, 6), max_size=4), holidays, moments)
def test_hours_within_others_are_never_open_where_those_are_not(wide, closed, off, at):
    weekly = [() if day in closed else wide.weekly[day] for day in range(7)]
    narrow = replace(wide, weekly=tuple(weekly), holidays={**wide.holidays, **off})
    assert is_open(wide, at) or not is_open(narrow, at)


def test_hours_that_end_the_next_day_are_those_of_the_day_before():
    nights = Calendar("Nights", UTC, (((20 * 60, 26 * 60),),) * 7, {})
    at = datetime(2026, 3, 21, 1, tzinfo=UTC)
    assert is_open(nights, at)
    for off, is_closed in ((at.date() - timedelta(days=1), True), (at.date(), False)):
        holiday = replace(nights, holidays={off: "Holiday"})
        assert is_open(holiday, at) is not is_closed
