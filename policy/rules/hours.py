"""Weekly hours of a time zone, as a rule names them. Pure: no tables, and no clock of its own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from common.time_zones import zone_named

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FIELDS = {"days", "opens", "closes", "zone"}


@dataclass(frozen=True)
class Hours:
    """From `opens` until `closes` on some days of the week, 0 for Monday, by the clock of `zone`.

    Where `closes` is not after `opens`, they end on the next day.
    """

    days: tuple[int, ...]
    opens: time
    closes: time
    zone: str

    @classmethod
    def from_json(cls, value: object) -> "Hours":
        """Return the hours that `as_json` wrote. Raises ValueError with a sentence."""
        if not isinstance(value, Mapping) or set(value) != _FIELDS:
            raise ValueError("Hours need days, opens, closes and zone.")
        days = value["days"]
        if not isinstance(days, list) or not days or not all(type(one) is int and 0 <= one < 7 for one in days):
            raise ValueError("Hours need at least one day of the week.")
        zone = zone_named(str(value["zone"]))
        if zone is None:
            raise ValueError(f"{str(value['zone'])[:40]!a} is no time zone.")
        return cls(tuple(sorted(set(days))), _time(value["opens"]), _time(value["closes"]), zone.key)

    def as_json(self) -> dict[str, Any]:
        """Return the hours as they are stored."""
        return {
            "days": list(self.days),
            "opens": f"{self.opens:%H:%M}",
            "closes": f"{self.closes:%H:%M}",
            "zone": self.zone,
        }


# Kept: many rules share their hours, and a page asks about all of its rows at one moment.
@lru_cache(maxsize=1024)
def is_open(hours: Hours, at: datetime) -> bool:
    """Whether `at` is within the hours; the end itself does not belong to them."""
    return any(start <= at < end for start, end in _spans(hours, at, range(-1, 1)))


def next_opening(hours: Hours, at: datetime) -> datetime:
    """Return when the hours begin next after `at`, in UTC; `at` itself where they are open."""
    if is_open(hours, at):
        return at
    return min(start for start, _ in _spans(hours, at, range(-1, 9)) if start > at)


def open_spans(hours: Hours, since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """Return from when until when, in UTC, the hours are open on the days between these times, in their order."""
    days = (until - since).days + 2
    return sorted(_spans(hours, until, range(-days, 2)))


def hours_in_words(hours: Hours) -> str:
    """Return the hours for the middle of a sentence: "Monday to Friday, 09:00 to 17:00 (Europe/Berlin)"."""
    days = hours.days
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        named = "every day" if len(days) == 7 else f"{DAYS[days[0]]} to {DAYS[days[-1]]}"
    else:
        named = ", ".join(DAYS[day] for day in days)
    return f"{named}, {hours.opens:%H:%M} to {hours.closes:%H:%M} ({hours.zone})"


def _spans(hours: Hours, at: datetime, offsets: Iterable[int]) -> list[tuple[datetime, datetime]]:
    """Return when the hours begin and end, in UTC, on the days that lie so far from the day of `at`."""
    zone = zone_named(hours.zone)
    assert zone is not None, "from_json accepts known zones only"
    today = at.astimezone(zone).date()
    days = (today + timedelta(days=offset) for offset in offsets)
    ends_next_day = timedelta(days=1 if hours.closes <= hours.opens else 0)

    def instant(day: date, clock: time) -> datetime:
        # In UTC, so that the hour that is twice or not at all when clocks change is compared by what really passes.
        return datetime.combine(day, clock, zone).astimezone(UTC)

    return [
        (instant(day, hours.opens), instant(day + ends_next_day, hours.closes))
        for day in days
        if day.weekday() in hours.days
    ]


def _time(value: object) -> time:
    try:
        return time.fromisoformat(str(value)).replace(second=0, microsecond=0, tzinfo=None)
    except ValueError:
        raise ValueError(f"{str(value)[:20]!a} is no time: write it as 09:00.") from None
