"""Hours as a rule names them: those of a calendar, by its key, or weekly ones of its
own. `opening` computes. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from functools import cached_property

from common.time_zones import zone_named
from policy.calendars import opening
from policy.calendars.opening import DAY, DAYS, Calendar, Weekly, write_day

# The calendars that there are, by their keys.
Calendars = Mapping[int, Calendar]


@dataclass(frozen=True)
class Hours:
    """The hours of the calendar with this key, or weekly hours as `Calendar` has them,
    by the clock of `zone`.
    """

    weekly: Weekly = ()
    zone: str = ""
    calendar: int = 0

    def __post_init__(self) -> None:
        if self.calendar > 0 and not self.weekly and not self.zone:
            return
        if (
            self.calendar
            or len(self.weekly) != 7
            or not any(self.weekly)
            or zone_named(self.zone) is None
        ):
            raise ValueError(
                "Hours are those of a calendar, or of seven days in a time zone."
            )
        for day in self.weekly:
            last = -1
            for begin, end in day:
                if not last < begin < DAY or not begin < end <= begin + DAY:
                    raise ValueError(
                        "The hours of a day are pairs of minutes, in order."
                    )
                last = end

    @classmethod
    def on(cls, days: Sequence[int], opens: time, closes: time, zone: str) -> "Hours":
        """Return the same hours on some days, 0 for Monday. Where `closes` is not after
        `opens`, on the next day.
        """
        begin = opens.hour * 60 + opens.minute
        end = closes.hour * 60 + closes.minute
        span = ((begin, end if end > begin else end + DAY),)
        return cls(tuple(span if day in days else () for day in range(7)), zone)

    @cached_property
    def _own(self) -> Calendar:
        zone = zone_named(self.zone)
        assert zone is not None, "others are refused"
        return Calendar("", zone, self.weekly)


def calendar_of(hours: Hours, calendars: Calendars) -> Calendar | None:
    """Return what `opening` computes with; None where the calendar is not there any
    more.
    """
    return calendars.get(hours.calendar) if hours.calendar else hours._own


def is_open(hours: Hours, at: datetime, calendars: Calendars) -> bool | None:
    """Return whether `at` is within the hours, the end excluded; None where their
    calendar is not there any more.
    """
    calendar = calendar_of(hours, calendars)
    return None if calendar is None else opening.is_open(calendar, at)


def next_opening(hours: Hours, at: datetime, calendars: Calendars) -> datetime | None:
    """Return when the hours begin next, in UTC; `at` itself where they are open, None
    where they never begin.
    """
    calendar = calendar_of(hours, calendars)
    try:
        return None if calendar is None else opening.next_opening(calendar, at)
    except opening.NeverOpen:
        return None


def open_spans(
    hours: Hours, since: datetime, until: datetime, calendars: Calendars
) -> list[tuple[datetime, datetime]]:
    """Return from when until when, in UTC, the hours are open on the days between these
    times, in their order.
    """
    calendar = calendar_of(hours, calendars)
    return [] if calendar is None else opening.open_spans(calendar, since, until)


def hours_in_words(hours: Hours, names: Mapping[int, str]) -> str:
    """Return the hours for the middle of a sentence: "Monday to Friday, 09:00 to 17:00
    (Europe/Berlin)".
    """
    if hours.calendar:
        return f"the hours of {names.get(hours.calendar) or f'calendar {hours.calendar} (deleted)'}"
    by_spans: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for day, spans in enumerate(hours.weekly):
        if spans:
            by_spans.setdefault(spans, []).append(day)
    parts = []
    for spans, days in by_spans.items():
        named = ", ".join(DAYS[day] for day in days)
        if len(days) == 7:
            named = "every day"
        elif len(days) > 2 and days[-1] - days[0] == len(days) - 1:
            named = f"{DAYS[days[0]]} to {DAYS[days[-1]]}"
        parts.append(f"{named}, {' and '.join(write_day(spans, ' to '))}")
    return f"{'; '.join(parts)} ({hours.zone})"
