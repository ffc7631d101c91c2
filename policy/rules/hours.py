"""Hours as a rule names them: those of a calendar, by its key, or weekly ones of its own. `opening` computes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from functools import cached_property
from typing import Any

from common.time_zones import zone_named
from policy.calendars import opening
from policy.calendars.opening import DAY, Calendar, Weekly
from policy.calendars.weekly import DAYS, clock, write_day

# The calendars that there are, by their keys.
Calendars = Mapping[int, Calendar]
_BLOCK = {"days", "opens", "closes", "zone"}
_WEEK = {"weekly", "zone"}


@dataclass(frozen=True)
class Hours:
    """The hours of the calendar with this key, or weekly hours as `Calendar` has them, by the clock of `zone`."""

    weekly: Weekly = ()
    zone: str = ""
    calendar: int = 0

    @classmethod
    def on(cls, days: Sequence[int], opens: time, closes: time, zone: str) -> "Hours":
        """Return the same hours on some days, 0 for Monday. Where `closes` is not after `opens`, on the next day."""
        begin = opens.hour * 60 + opens.minute
        end = closes.hour * 60 + closes.minute
        span = ((begin, end if end > begin else end + DAY),)
        return cls(tuple(span if day in days else () for day in range(7)), zone)

    @classmethod
    def from_json(cls, value: object) -> "Hours":
        """Return the hours that `as_json` wrote. Raises ValueError with a sentence."""
        if isinstance(value, Mapping) and set(value) == {"calendar"}:
            key = value["calendar"]
            if type(key) is not int or not 0 < key < 2**63:
                raise ValueError("A calendar is named by its key.")
            return cls(calendar=key)
        if not isinstance(value, Mapping) or set(value) not in (_BLOCK, _WEEK):
            raise ValueError("Hours need a calendar, or days, opens, closes and zone.")
        zone = zone_named(str(value["zone"]))
        if zone is None:
            raise ValueError(f"{str(value['zone'])[:40]!a} is no time zone.")
        if "weekly" in value:
            return cls(_weekly(value["weekly"]), zone.key)
        days = value["days"]
        if not isinstance(days, list) or not days or not all(type(one) is int and 0 <= one < 7 for one in days):
            raise ValueError("Hours need at least one day of the week.")
        return cls.on(days, _time(value["opens"]), _time(value["closes"]), zone.key)

    def as_json(self) -> dict[str, Any]:
        """Return the hours as they are stored; the same hours on some days as they always were."""
        if self.calendar:
            return {"calendar": self.calendar}
        days = [day for day, spans in enumerate(self.weekly) if spans]
        if len(spans := {self.weekly[day] for day in days}) == 1 and len(found := next(iter(spans))) == 1:
            opens, closes = (clock(minute % DAY) for minute in found[0])
            return {"days": days, "opens": opens, "closes": closes, "zone": self.zone}
        return {"weekly": [[list(span) for span in day] for day in self.weekly], "zone": self.zone}

    @cached_property
    def _own(self) -> Calendar:
        zone = zone_named(self.zone)
        assert zone is not None, "from_json accepts known zones only"
        return Calendar("", zone, self.weekly)


def calendar_of(hours: Hours, calendars: Calendars) -> Calendar | None:
    """Return what `opening` computes with; None where the calendar is not there any more."""
    return calendars.get(hours.calendar) if hours.calendar else hours._own


def is_open(hours: Hours, at: datetime, calendars: Calendars) -> bool | None:
    """Return whether `at` is within the hours, the end excluded; None where their calendar is not there any more."""
    calendar = calendar_of(hours, calendars)
    return None if calendar is None else opening.is_open(calendar, at)


def next_opening(hours: Hours, at: datetime, calendars: Calendars) -> datetime | None:
    """Return when the hours begin next, in UTC; `at` itself where they are open, None where they never begin."""
    calendar = calendar_of(hours, calendars)
    try:
        return None if calendar is None else opening.next_opening(calendar, at)
    except opening.NeverOpen:
        return None


def open_spans(hours: Hours, since: datetime, until: datetime, calendars: Calendars) -> list[tuple[datetime, datetime]]:
    """Return from when until when, in UTC, the hours are open on the days between these times, in their order."""
    calendar = calendar_of(hours, calendars)
    return [] if calendar is None else opening.open_spans(calendar, since, until)


def hours_in_words(hours: Hours, names: Mapping[int, str]) -> str:
    """Return the hours for the middle of a sentence: "Monday to Friday, 09:00 to 17:00 (Europe/Berlin)"."""
    if hours.calendar:
        return f"the hours of {names.get(hours.calendar) or f'calendar {hours.calendar} (deleted)'}"
    by_spans: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for day, spans in enumerate(hours.weekly):
        if spans:
            by_spans.setdefault(spans, []).append(day)
    parts = [f"{_days(days)}, {' and '.join(write_day(spans, ' to '))}" for spans, days in by_spans.items()]
    return f"{'; '.join(parts)} ({hours.zone})"


def _days(days: Sequence[int]) -> str:
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return "every day" if len(days) == 7 else f"{DAYS[days[0]]} to {DAYS[days[-1]]}"
    return ", ".join(DAYS[day] for day in days)


def _weekly(value: object) -> Weekly:
    """Return the hours of a week, Monday first. Raises ValueError."""
    wrong = ValueError("Weekly hours are a list of seven days with pairs of minutes, in order.")
    if not isinstance(value, list) or len(value) != 7:
        raise wrong
    for day in value:
        last = -1
        for span in day if isinstance(day, list) else [None]:
            if not isinstance(span, list) or [type(one) for one in span] != [int, int]:
                raise wrong
            if not last < span[0] < DAY or not span[0] < span[1] <= span[0] + DAY:
                raise wrong
            last = span[1]
    if not any(value):
        raise ValueError("Hours need at least one day of the week.")
    return tuple(tuple((begin, end) for begin, end in day) for day in value)


def _time(value: object) -> time:
    try:
        return time.fromisoformat(str(value)).replace(second=0, microsecond=0, tzinfo=None)
    except ValueError:
        raise ValueError(f"{str(value)[:20]!a} is no time: write it as 09:00.") from None
