"""A month as its reader's calendar has it. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_FIRST, _LAST = 2000, 2999


@dataclass(frozen=True, order=True)
class Month:
    """One month: from its first moment in a time zone to the first of the next, which does not belong to it."""

    year: int
    number: int
    zone: str = "UTC"

    @classmethod
    def of(cls, at: datetime, zone: str) -> "Month":
        """Return the month in which a moment is."""
        there = at.astimezone(ZoneInfo(zone))
        return cls(there.year, there.month, zone)

    @classmethod
    def read(cls, text: str, zone: str) -> "Month | None":
        """Return the month that is spelled `2026-11`; None for what is none."""
        found = _MONTH.fullmatch(text) if text.isascii() else None
        if found is None:
            return None
        year, number = int(found[1]), int(found[2])
        return cls(year, number, zone) if _FIRST <= year <= _LAST and 1 <= number <= 12 else None

    @property
    def since(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=ZoneInfo(self.zone))

    @property
    def until(self) -> datetime:
        return self.after.since

    @property
    def before(self) -> "Month":
        return Month(self.year - (self.number == 1), 12 if self.number == 1 else self.number - 1, self.zone)

    @property
    def after(self) -> "Month":
        return Month(self.year + (self.number == 12), 1 if self.number == 12 else self.number + 1, self.zone)

    @property
    def words(self) -> str:
        return f"{self.since:%B %Y}"

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"
