"""Laws of working time: it never runs backwards, adds up, ends in no closed time, and
is right at daylight saving.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from policy.calendars import (
    DAY,
    Calendar,
    after_working_time,
    is_open,
    next_opening,
)

OFFICE = Calendar(
    "Office",
    ZoneInfo("Europe/Berlin"),
    (((9 * 60, 17 * 60),),) * 5 + ((), ()),
    {date(2026, 12, 25): "Xmas"},
)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Kathmandu",
    "UTC",
)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@st.composite
def days(draw):
    """Up to two spans of one day, in order, the last of which may end on the next day."""
    ends = sorted(
        draw(st.lists(st.integers(0, DAY), min_size=0, max_size=4, unique=True))
    )
    spans = [span for span in zip(ends[::2], ends[1::2], strict=False) if span[0] < DAY]
    if spans and draw(st.booleans()):
        begin, _ = spans.pop()
        spans.append((begin, begin + draw(st.integers(1, DAY))))
    return tuple(spans)


@st.composite
def calendars(draw):
    """Calendars that open at least on Wednesdays, which no holiday closes for ever."""
    weekly = [draw(days()) for _ in range(7)]
    weekly[2] = weekly[2] or ((60, 61),)
    first = date(2026, 3, 20)
    off = draw(st.sets(st.integers(0, 250), max_size=20))
    holidays = {first + timedelta(days=number): "Holiday" for number in off}
    return Calendar(
        "Any", ZoneInfo(draw(st.sampled_from(ZONES))), tuple(weekly), holidays
    )


# From before one change of the clocks until after the other.
moments = st.integers(0, 235 * 24 * 60).map(
    lambda minutes: datetime(2026, 3, 20, tzinfo=UTC) + minutes * MINUTE
)


@given(calendars(), moments, st.timedeltas(timedelta(minutes=1), timedelta(hours=60)))
def test_working_time_never_ends_inside_closed_time(calendar, at, lasting):
    end = after_working_time(calendar, at, lasting)
    assert is_open(calendar, end - timedelta(microseconds=1))
    assert end - at >= lasting


def clock_is_within(calendar, at):
    """Whether the clock of the calendar shows a time within its hours: what `is_open`
    has to say.
    """
    there = at.astimezone(calendar.zone)
    minute = there.hour * 60 + there.minute
    today = there.date()
    before = today - timedelta(days=1)
    now = () if today in calendar.holidays else calendar.weekly[today.weekday()]
    night = () if before in calendar.holidays else calendar.weekly[before.weekday()]
    return any(begin <= minute < end for begin, end in now) or any(
        minute + DAY < end for _, end in night
    )


# Minutes about which the clock of one of the zones is put forward or back, with others.
about_changes = st.sampled_from(
    [(3, 29, 1), (10, 25, 1), (3, 8, 7), (11, 1, 6), (4, 4, 15), (10, 3, 15), (4, 5, 4)]
)


@given(calendars(), about_changes, st.integers(-26 * 60, 26 * 60))
def test_it_is_open_whenever_its_clock_shows_a_time_within_its_hours(
    calendar, change, minutes
):
    month, day, hour = change
    at = datetime(2026, month, day, hour, tzinfo=UTC) + minutes * MINUTE
    assert is_open(calendar, at) == clock_is_within(calendar, at)


@given(
    calendars(),
    st.sets(st.integers(0, 6), max_size=4),
    st.sets(st.integers(0, 250), max_size=9),
    moments,
)
def test_hours_within_others_are_never_open_where_those_are_not(wide, closed, off, at):
    weekly = tuple(
        () if day in closed else spans for day, spans in enumerate(wide.weekly)
    )
    holidays = {
        **wide.holidays,
        **{date(2026, 3, 20) + timedelta(days=number): "Off" for number in off},
    }
    narrow = replace(wide, weekly=weekly, holidays=holidays)
    assert is_open(wide, at) or not is_open(narrow, at)


def berlin(*parts):
    return datetime(*parts, tzinfo=ZoneInfo("Europe/Berlin"))


def test_weekend_and_holiday_do_not_count():
    # Thursday 16:00, an hour left; Friday the 25th is a holiday; so it ends on Monday.
    assert after_working_time(OFFICE, berlin(2026, 12, 24, 16), 2 * HOUR) == berlin(
        2026, 12, 28, 10
    )
    assert after_working_time(OFFICE, berlin(2026, 12, 24, 16), HOUR) == berlin(
        2026, 12, 24, 17
    )
    assert next_opening(OFFICE, berlin(2026, 12, 24, 17)) == berlin(2026, 12, 28, 9)
    now = berlin(2026, 12, 25)
    assert after_working_time(OFFICE, now, timedelta(0)) == now


def test_calendar_without_hours_says_so():
    never = Calendar("Never", OFFICE.zone, ((),) * 7)
    assert after_working_time(never, berlin(2026, 1, 1), HOUR) is None
    assert not is_open(never, berlin(2026, 1, 1))
