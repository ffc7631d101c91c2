"""The hours of one day as people write them: "09:00-12:00, 13:00-17:00". Pure."""

import re
from collections.abc import Iterator, Sequence

from policy.calendars.opening import DAY

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MAX_LINE = 200
NOTE = "Such as 09:00-12:00, 13:00-17:00. Empty: closed. An end before its beginning is on the next day."
_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})")
_WRONG = "Write hours as 09:00-12:00, 13:00-17:00, in order. Empty: closed."


def read_day(typed: str) -> list[tuple[int, int]]:
    """Return the hours of a day as minutes since midnight. Raises ValueError with a
    sentence.

    Only the last hours of a day may end on the next one.
    """
    return list(_spans(typed))


def _spans(typed: str) -> Iterator[tuple[int, int]]:
    last = -1
    for part in filter(None, map(str.strip, typed.split(","))):
        found = _SPAN.fullmatch(part)
        if found is None:
            raise ValueError(_WRONG)
        first_hour, first_minute, hour, minute = map(int, found.groups())
        begin = first_hour * 60 + first_minute
        end = hour * 60 + minute
        if max(first_minute, minute) > 59 or not last < begin < DAY or end > DAY:
            raise ValueError(_WRONG)
        last = end if end > begin else end + DAY
        yield begin, last


def write_day(spans: Sequence[Sequence[int]], to: str = "-") -> list[str]:
    """Return each of the hours of a day as `read_day` reads them, with another word
    between where one is given.
    """
    return [
        f"{clock(begin)}{to}{clock(end if end <= DAY else end - DAY)}"
        for begin, end in spans
    ]


def clock(minute: int) -> str:
    """Return a minute of the day as its clock shows it."""
    return f"{minute // 60:02}:{minute % 60:02}"
