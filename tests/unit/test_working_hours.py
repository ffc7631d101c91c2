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
# Minutes about which the clock of one of the zones is put forward or back, with others.
about_changes = st.builds(
    lambda change, minutes: datetime(2026, *change, tzinfo=UTC)
    + timedelta(minutes=minutes),
    st.sampled_from(
        [(3, 29, 1), (10, 25, 1), (3, 8, 7), (11, 1, 6), (4, 4, 15), (10, 3, 15), (4, 5, 4)]
    ),
    st.integers(-26 * 60, 26 * 60),
)  # fmt: skip


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
    now, night = (
        () if day in calendar.holidays else calendar.weekly[day.weekday()]
        for day in (there.date(), there.date() - timedelta(days=1))
    )
    shows = any(begin <= minute < end for begin, end in now)
    assert is_open(calendar, at) == (
        shows or any(minute + DAY < end for _, end in night)
    )


@given(calendars, st.sets(st.integers(0, 6), max_size=4), holidays, moments)
def test_hours_within_others_are_never_open_where_those_are_not(wide, closed, off, at):
    weekly = [() if day in closed else wide.weekly[day] for day in range(7)]
    narrow = replace(wide, weekly=tuple(weekly), holidays={**wide.holidays, **off})
    assert is_open(wide, at) or not is_open(narrow, at)
