"""The time zone of whoever asks: what their clock says, with the zone's name. What
programs read stays in UTC.
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
def somebodys_time(name: Callable[[], str]) -> Iterator[None]:
    """Show times inside the block in the zone that `name` returns; it is asked once,
    when the first time is shown.
    """

    @cache
    def zone() -> ZoneInfo:
        try:
            return ZoneInfo(name())
        except (KeyError, ValueError, OSError):
            # This machine does not know it any more.
            return UTC

    token = _zone.set(zone)
    try:
        yield
    finally:
        _zone.reset(token)


def zone_named(typed: str) -> ZoneInfo | None:
    """Return the time zone of this name, in any case; None where there is none."""
    name = typed.strip().replace(" ", "_").casefold()
    found = _zones().get(name)
    return ZoneInfo(found) if found else None


@cache
def _zones() -> dict[str, str]:
    """Return the names of zones by what is typed for each."""
    return {zone.casefold(): zone for zone in available_timezones()}


def local_time(at: datetime) -> datetime:
    """Return a time in the time zone of the person who asks."""
    return at.astimezone(_zone.get()())


def zone_word(at: datetime) -> str:
    """Return what the zone is called at that time, as `UTC` or `CEST`; without a name,
    how far it is from UTC.
    """
    word = local_time(at).tzname() or ""
    return word if word.isalpha() else f"UTC{word}"


def zone_name() -> str:
    """Return the zone's own name, as `Europe/Lisbon`."""
    return str(_zone.get()())


def minutes_from_utc(at: datetime) -> int:
    """Return how far the zone is from UTC at that time."""
    offset = local_time(at).utcoffset()
    return int(offset.total_seconds() // 60) if offset else 0
