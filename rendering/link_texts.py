"""Finds the links of a simple form, each with the texts around it: a host may go on in
the words before or after a link, or in the next cell of a table.

Runs only in the parser's confined processes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rendering.links import read_link
from rendering.result import Link
from simple_form.declarations import pixels
from simple_form.html_reading import BLOCKS

# How many characters before and after a link are read, for a host of which its text is
# a part.
MAX_BESIDE = 64

# Marks in the collected text: between cells, which may touch each other, and between
# texts that a reader sees apart.
_CELL = "\x1f"
_APART_MARK = "\x1e"
# Between two cells in which one host may stand: the dot next to it ends no sentence.
_TOUCHING = re.compile(
    r"(?<=\w)[ \n]*\x1f[ \n\x1f]*(?=[.．。․]\w)|(?<=\w[.．。․])[ \n]*\x1f[ \n\x1f]*(?=[a-z])"
)
_BLANKS = str.maketrans(dict.fromkeys("\t\n\r\f\x1e\x1f", " "))
_CELLS = frozenset({"td", "th", "caption"})
# In pixels: less than a space in the smallest letters.
_GAP = 2.5


@dataclass(slots=True)
class SeenLink:
    """A link while its message is drawn. `mark` is its id in the frame, `start` and
    `end` the position of its text in `LinkTexts`, `labels` its titles and alternative
    texts.

    `slot` has two indexes, in `Drawing.out` and `Drawing.text`: the empty items after
    the link, into which its target is written later.
    """

    target: str
    mark: str = ""
    start: int = 0
    end: int = 0
    labels: list[str] = field(default_factory=list)
    slot: tuple[int, int] = (0, 0)


class LinkTexts:
    """The visible text of a message in order, and which parts of it are links."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0
        self.open: list[SeenLink] = []
        self.links: list[SeenLink] = []

    def add(self, text: str) -> None:
        """Add visible text without invisible characters, or a mark of `separators`."""
        self.parts.append(text)
        self.size += len(text)

    def add_labels(self, labels: Sequence[str]) -> None:
        """Add the labels of an element (title, text in place of a picture) to all links
        that it is in.
        """
        for link in self.open:
            link.labels += labels

    def start(self, link: SeenLink) -> None:
        """Begin a link here."""
        link.start = self.size
        self.open.append(link)

    def end(self, slot: tuple[int, int]) -> None:
        """End the link that began last."""
        link = self.open.pop()
        link.end = self.size
        link.slot = slot
        self.links.append(link)

    def read(self) -> Iterator[tuple[SeenLink, Link]]:
        """Yield each link as collected and as read. Call this after all text was added,
        because a host may go on in the text after the link.
        """
        # Zero-width spaces, which `readable` removes, keep the positions as they were.
        whole = _TOUCHING.sub(
            lambda between: "\u200b" * len(between.group()), "".join(self.parts)
        ).translate(_BLANKS)
        for seen in self.links:
            before = whole[max(0, seen.start - MAX_BESIDE) : seen.start]
            link = read_link(
                whole[seen.start : seen.end],
                seen.target,
                labels=seen.labels,
                before=before.rpartition(" ")[2],
                after=whole[seen.end : seen.end + MAX_BESIDE].partition(" ")[0],
            )
            yield seen, replace(link, mark=seen.mark)


def separators(tag: str, style: Mapping[str, str]) -> tuple[str, str]:
    """Return two marks, which separate the text of an element of the simple form from
    the text before and after it; empty if the texts touch.
    """
    if tag in _CELLS or style.get("display") == "inline-block":
        return _CELL, _CELL
    if tag == "tr":
        return _APART_MARK, _APART_MARK
    if tag in BLOCKS or style.get("display") == "block":
        return "\n", "\n"
    return _gap(style, "left"), _gap(style, "right")


def _gap(style: Mapping[str, str], side: str) -> str:
    """Return a mark if margin and padding on a side look like a space."""
    gap = sum(
        pixels(style.get(f"{box}-{side}", "")) or 0.0 for box in ("margin", "padding")
    )
    return _APART_MARK if gap >= _GAP else ""
