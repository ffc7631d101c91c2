"""Works out charts from numbers: where each bar stands. Pure;
templates/dashboard/_chart_bars.html draws them.

Across, everything is in percent, so that a chart fills whatever room it has and its
words keep their size; down, in pixels. What a chart says by place or colour also stands
in words, and in the table behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ROW = 36


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


def spoken(seconds: float) -> str:
    """Return a span of time as people say it: `24 s`, `3 min`, `2.5 h`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if round(seconds) >= size:
            value = round(seconds / size, 1)
            return f"{value:g} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"
