"""What the links of a letter read as: their text, what it runs into, and what stands in place of their pictures."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from rendering.arithmetic import length
from rendering.boxes import Style
from rendering.invisibles import stripped
from rendering.links import read_link
from rendering.nesting import BLOCKS
from rendering.shown import Link

# Characters; more of a name would not be taken for another's.
MAX_BESIDE = 64

# Between cells, which may touch each other, and where text surely goes on elsewhere.
_CELL, _PARTED = "\x1f", "\x1e"
# A name that goes on in the next cell: one that begins or ends with a dot belongs to no sentence.
_TOUCHING = re.compile(r"(?<=\w)[ \n]*\x1f[ \n\x1f]*(?=[.．。․]\w)|(?<=\w[.．。․])[ \n]*\x1f[ \n\x1f]*(?=[a-z])")
_BLANKS = str.maketrans(dict.fromkeys("\t\n\r\f\x1e\x1f", " "))
_CELLS = frozenset({"td", "th", "caption"})
_SIDE_BY_SIDE = frozenset({"table-cell", "inline-block", "inline-table", "inline-flex", "inline-grid"})
_INLINE = frozenset({"inline", "contents", "initial", "unset"})
# In widths of a letter M; a space has a quarter.
_GAP = 0.2


@dataclass(slots=True)
class SeenLink:
    """A link of the letter: where its text stands, and what it is called besides.

    `room` are the places after it, in what is drawn and in its text twin, where it is told where the link goes.
    """

    target: str
    mark: str = ""
    start: int = 0
    end: int = 0
    labels: list[str] = field(default_factory=list)
    room: tuple[int, int] = (0, 0)


class LinkTexts:
    """The visible text of a letter in its order, and which parts of it are links."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0
        self.open: list[SeenLink] = []
        self.links: list[SeenLink] = []

    def say(self, text: str) -> None:
        """Add visible text."""
        self._add(stripped(text))

    def part(self, between: str) -> None:
        """Add what `parting` gives."""
        self._add(between)

    def _add(self, text: str) -> None:
        self.parts.append(text)
        self.size += len(text)

    def label(self, labels: Sequence[str]) -> None:
        """Add what an element inside of links is called: its title, or the text in place of a picture."""
        for link in self.open:
            link.labels += labels

    def start(self, link: SeenLink) -> None:
        """Begin a link here."""
        link.start = self.size
        self.open.append(link)

    def end(self, room: tuple[int, int]) -> None:
        """End the link that began last."""
        link = self.open.pop()
        link.end, link.room = self.size, room
        self.links.append(link)

    def read(self, base: str) -> Iterator[tuple[SeenLink, Link]]:
        """Yield each link with its true target. To be called once all text was added: one may go on in the next."""
        whole = _TOUCHING.sub(lambda between: "\u200b" * len(between.group()), "".join(self.parts)).translate(_BLANKS)
        for seen in self.links:
            link = read_link(
                whole[seen.start : seen.end],
                seen.target,
                base,
                labels=seen.labels,
                before=whole[max(0, seen.start - MAX_BESIDE) : seen.start].rpartition(" ")[2],
                after=whole[seen.end : seen.end + MAX_BESIDE].partition(" ")[0],
            )
            yield seen, replace(link, mark=seen.mark)


def areas(found: Iterable[tuple[Sequence[str], str]], base: str) -> list[Link]:
    """Return the links of parts of pictures, each given by its labels and its target."""
    return [read_link("" if labels else "(part of a picture)", target, base, labels=labels) for labels, target in found]


def parting(tag: str, style: Style, size: float) -> tuple[str, str]:
    """Return what parts the text of an element from the text before and after it; `size` is that of its letters."""
    display = style.get("display", "")
    left, right = _gap(style, "left", size), _gap(style, "right", size)
    if tag in _CELLS or display in _SIDE_BY_SIDE or style.get("float") in ("left", "right"):
        return _CELL + left, right + _CELL
    if tag == "tr":
        return _PARTED, _PARTED
    is_block = display not in _INLINE if display else tag in BLOCKS
    return ("\n", "\n") if is_block else (left, right)


def _gap(style: Style, side: str, size: float) -> str:
    """Return a blank where an element keeps at least so much room on a side that a reader sees a space."""
    room = sum(_room(style, name, side, size) for name in ("margin", "padding"))
    return _PARTED if room >= _GAP * size else ""


def _room(style: Style, name: str, side: str, size: float) -> float:
    if f"{name}-{side}" in style:
        return length(style[f"{name}-{side}"], size) or 0.0
    # One to four: all, or top with bottom and the sides, or each.
    sides = style.get(name, "").split()
    if not sides:
        return 0.0
    return length(sides[3] if side == "left" and len(sides) > 3 else sides[min(1, len(sides) - 1)], size) or 0.0
