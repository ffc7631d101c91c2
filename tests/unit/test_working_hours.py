"""Laws of working time: a calendar is open by the clock of its time zone, also at
daylight saving, and a duration of working time ends in no closed time.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from policy.calendars import DAY, Calendar, after_working_time, is_open

ZONES = (
    "Europe/Berlin America/New_York Australia/Lord_Howe America/Santiago Asia/Kathmandu"
)
# Days on which the clock of one of the zones is put forward or back.
CHANGES = "2026-03-08 2026-03-29 2026-04-04 2026-10-03 2026-10-25 2026-11-01"
moments = st.builds(
    lambda day, minutes: (
        datetime.fromisoformat(f"{day}T12:00Z") + timedelta(minutes=minutes)
    ),
    st.sampled_from(CHANGES.split()),
    st.integers(-2 * DAY, 2 * DAY),
)


def spans(ends):
    """Spans of one day, in order, the last of which may end on the next day."""
    ends = sorted(ends)
    return tuple(zip(ends[::2], [*ends[1::2], min(ends) + DAY], strict=False))


days = st.just(()) | st.sets(st.integers(0, DAY - 1), min_size=1, max_size=4).map(spans)
calendars = st.builds(
    lambda zone, weekly: Calendar("Any", ZoneInfo(zone), weekly),
    st.sampled_from(ZONES.split()),
    st.tuples(*[days] * 7),
)


@given(calendars, moments, st.timedeltas(timedelta(minutes=1), timedelta(hours=60)))
def test_working_time_never_ends_inside_closed_time(calendar, at, lasting):
    end = after_working_time(calendar, at, lasting)
    assert bool(end) == any(calendar.weekly)
    if end:
        assert is_open(calendar, end - timedelta(microseconds=1))
        assert end - at >= lasting


@settings(max_examples=200)
@given(calendars, moments, st.sets(st.integers(-1, 1)))
def test_it_is_open_whenever_its_clock_shows_a_time_within_its_hours(calendar, at, off):
    there = at.astimezone(calendar.zone)
    today = there.date()
    calendar = replace(
        calendar, holidays={today + timedelta(days=day): "Off" for day in off}
    )
    minute = there.hour * 60 + there.minute

    def is_within(ago):
        hours = calendar.weekly[today.weekday() - ago] if -ago not in off else ()
        return any(begin <= minute + ago * DAY < end for begin, end in hours)

    # Hours of the day before may end on this day.
    assert is_open(calendar, at) == (is_within(0) or is_within(1))
