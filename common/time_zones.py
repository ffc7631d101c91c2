"""Shows times in the time zone of the person who looks at them, with the zone's name.
Times that programs read stay in UTC.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

UTC = ZoneInfo("UTC")
_zone: ContextVar[Callable[[], ZoneInfo]] = ContextVar("zone", default=lambda: UTC)


@contextmanager
def somebodys_time(read_zone_name: Callable[[], str]) -> Iterator[None]:
    """Show times inside the block in the zone whose name this function returns. It is
    called once, when the first time is shown.
    """

    @cache
    def zone() -> ZoneInfo:
        try:
            return ZoneInfo(read_zone_name())
        except (KeyError, ValueError, OSError):
            # This machine does not know the zone (any more).
            return UTC

    token = _zone.set(zone)
    try:
        yield
    finally:
        _zone.reset(token)


def zone_named(typed: str) -> ZoneInfo | None:
    """Return the time zone of this name, in upper or lower case; None if there is none."""
    name = _zones().get(typed.strip().replace(" ", "_").casefold())
    return ZoneInfo(name) if name else None


@cache
def _zones() -> dict[str, str]:
    """Return the names of all zones by their lower-case form."""
    return {zone.casefold(): zone for zone in available_timezones()}


def here(typed: datetime) -> datetime:
    """Return a day and time that somebody typed, in the zone of the current block."""
    return typed.replace(tzinfo=_zone.get()())


def clock_error(at: datetime) -> str:
    """Return why a day and time on the clocks of its zone names no moment: when clocks
    change, an hour is left out or comes twice. Empty if it names one.
    """
    # Only for such times it matters which of the two hours is meant.
    if at.replace(fold=0).utcoffset() == at.replace(fold=1).utcoffset():
        return ""
    back = at.astimezone(UTC).astimezone(at.tzinfo)
    if back.replace(tzinfo=None) != at.replace(tzinfo=None):
        return f"Clocks in {at.tzinfo} skip that time: choose another one."
    return f"Clocks in {at.tzinfo} show that time twice: choose one before or after that hour."


def local_time(at: datetime) -> datetime:
    """Return a time in the zone of the current block (somebodys_time)."""
    return at.astimezone(_zone.get()())


def zone_word(at: datetime) -> str:
    """Return the zone's short name at that time, such as `UTC` or `CEST`. If it has
    none, return how far it is from UTC.
    """
    word = local_time(at).tzname() or ""
    return word if word.isalpha() else f"UTC{word}"


def time_of_day(at: datetime) -> str:
    """Return a time as `10:42:07 UTC`, in the zone of the current block."""
    return f"{local_time(at):%H:%M:%S} {zone_word(at)}"


def day_and_time(at: datetime) -> str:
    """Return a time as `20 Nov, 10:42 UTC`, in the zone of the current block."""
    return f"{local_time(at):%-d %b, %H:%M} {zone_word(at)}"


def zone_name() -> str:
    """Return the zone's full name, such as `Europe/Lisbon`."""
    return str(_zone.get()())


def minutes_from_utc(at: datetime) -> int:
    """Return how many minutes the zone is ahead of UTC at that time."""
    offset = local_time(at).utcoffset()
    return int(offset.total_seconds() // 60) if offset else 0
