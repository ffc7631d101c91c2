"""Works out charts from numbers: where each bar and mark stands. Pure;
templates/dashboard/_chart*.html draw them.

Across, everything is in percent, so that a chart fills whatever room it has and its
words keep their size; down, in pixels. What a chart says by place or colour also stands
in words, and in the table behind it.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

ROW = 36
TOP = 22
BOTTOM = 152
HEIGHT = 178
# The width left of the marks, for the labels of the scale.
LEFT = 15.0
# The scale of times, in seconds, with its words: each step is some times the one
# before.
STEPS = (
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3_600, "1 h"),
    (6 * 3_600, "6 h"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (70 * 86_400, "70 days"),
)


@dataclass(frozen=True)
class Part:
    """A piece of a bar: from where, how wide, and in which colour."""

    x: str
    width: str
    tone: str


@dataclass(frozen=True)
class Bar:
    """One row: its words, what it counts in words, and its pieces one after the other."""

    label: str
    words: str
    y: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Bars:
    """Bars one below the other, the longest as wide as the chart."""

    height: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Mark:
    """One day: where it stands, and how high half and nearly all of its times reach;
    None on a day without any.
    """

    x: str
    day: str
    middle: float | None = None
    most: float | None = None
    words: str = ""


@dataclass(frozen=True)
class Line:
    """One step of the scale."""

    y: float
    words: str


@dataclass(frozen=True)
class Days:
    """The times of several days, on a logarithmic scale that has space for a second and
    a day.
    """

    height: int
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]


def bars(rows: Sequence[tuple[str, str, Sequence[tuple[int, str]]]]) -> Bars:
    """Return the chart of rows of a label, its words and its pieces, each a number and
    a colour.
    """
    widths = [sum(number for number, _ in pieces) for _, _, pieces in rows]
    widest = max(widths, default=0) or 1
    drawn = []
    for index, (label, words, pieces) in enumerate(rows):
        parts = []
        before = 0
        for number, tone in pieces:
            if number:
                x = _percent(before / widest)
                parts.append(Part(x, width=_percent(number / widest), tone=tone))
            before += number
        drawn.append(Bar(label, words, y=ROW * index, parts=tuple(parts)))
    return Bars(height=ROW * len(drawn), bars=tuple(drawn))


def days(times: Sequence[tuple[date, float | None, float | None]]) -> Days:
    """Return the chart of days, each with its middle and its 95th percentile in
    seconds.
    """
    known = [value for _, *both in times for value in both if value is not None]
    # The steps around all of these values; at least two.
    steps = [value for value, _ in STEPS]
    first = max(bisect_right(steps, min(known, default=1)) - 1, 0)
    last = min(bisect_left(steps, max(known, default=60)), len(steps) - 1)
    if last <= first:
        first = min(first, len(steps) - 2)
        last = first + 1
    least = steps[first]
    most = steps[last]
    wide = (100 - LEFT) / max(len(times), 1)
    marks = tuple(
        Mark(
            x=_percent((LEFT + wide * (index + 0.5)) / 100),
            day=f"{day:%a}",
            middle=None if middle is None else _height(middle, least, most),
            most=None if top is None else _height(top, least, most),
            words="" if middle is None else spoken(middle),
        )
        for index, (day, middle, top) in enumerate(times)
    )
    lines = tuple(
        Line(_height(value, least, most), words)
        for value, words in STEPS
        if least <= value <= most
    )
    return Days(height=HEIGHT, lines=lines, marks=marks)


def week_until(today: date) -> tuple[date, ...]:
    """Return the seven days that end with this one."""
    return tuple(today - timedelta(days=back) for back in range(6, -1, -1))


def spoken(seconds: float) -> str:
    """Return a span of time as people say it: `24 s`, `3 min`, `2.5 h`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if round(seconds) >= size:
            value = round(seconds / size, 1)
            return f"{value:g} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _height(seconds: float, least: int, most: int) -> float:
    """Return the height of a time on the scale, clamped to its ends."""
    share = math.log(max(seconds, least) / least) / math.log(most / least)
    return round(BOTTOM - min(share, 1.0) * (BOTTOM - TOP), 1)


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"
