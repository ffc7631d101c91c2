"""Computes bar charts from numbers: the position and width of each piece of a bar.
Pure; templates/dashboard/_chart_bars.html draws them.

Horizontal measures are in percent, so a chart fills the width it has while its text
keeps its size; vertical measures are in pixels. Everything that a chart shows by
position or colour is also written in words, and in a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# The height of a row, in pixels.
ROW = 36


@dataclass(frozen=True)
class Part:
    """A piece of a bar: where it begins, how wide it is (both in percent), its colour."""

    x: str
    width: str
    tone: str


@dataclass(frozen=True)
class Bar:
    """One row: its label, its number in words, and the pieces of its bar side by side."""

    label: str
    words: str
    y: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Bars:
    """A chart: its bars one below the other. The longest is as wide as the chart."""

    height: int
    bars: tuple[Bar, ...]


def bars(rows: Sequence[tuple[str, str, Sequence[tuple[int, str]]]]) -> Bars:
    """Return the chart of these rows. A row is its label, its number in words, and its
    pieces; a piece is a number and a colour.
    """
    totals = [sum(number for number, _ in pieces) for _, _, pieces in rows]
    longest = max(totals, default=0) or 1
    drawn = []
    for index, (label, words, pieces) in enumerate(rows):
        parts = []
        sum_before = 0
        for number, tone in pieces:
            if number:
                x = _percent(sum_before / longest)
                parts.append(Part(x, width=_percent(number / longest), tone=tone))
            sum_before += number
        drawn.append(Bar(label, words, y=ROW * index, parts=tuple(parts)))
    return Bars(height=ROW * len(drawn), bars=tuple(drawn))


def spoken(seconds: float) -> str:
    """Return a span of time in a unit that suits it: `24 s`, `3 min`, `2.5 h`, `4 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if round(seconds) >= size:
            value = round(seconds / size, 1)
            return f"{value:g} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"
