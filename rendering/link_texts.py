"""Reads the links of a simple form, each with the words around it: a host may go on in
the words before or after a link, or in the next cell of a table.

Runs only in the parser's confined processes.
"""

import re
from dataclasses import dataclass, field

from rendering.invisibles import stripped
from rendering.links import read_link
from rendering.result import Link
from simple_form.html_reading import BLOCKS, VOID, tokens

# How many characters before and after a link are read, for a host of which its text is
# a part.
MAX_BESIDE = 64

# Marks in the collected text: between cells, which may touch each other, and between
# texts that a reader sees apart.
_CELL = "\x1f"
_APART = "\x1e"
# Between two cells in which one host may stand: the dot next to it ends no sentence.
_TOUCHING = re.compile(
    r"(?<=\w)[ \n]*\x1f[ \n\x1f]*(?=[.．。․]\w)|(?<=\w[.．。․])[ \n]*\x1f[ \n\x1f]*(?=[a-z])"
)
_BLANKS = str.maketrans(dict.fromkeys("\t\n\r\f\x1e\x1f", " "))
# In pixels: as much as a space in the smallest letters.
_GAP = 3
# Between the labels in a `data-labels` attribute.
_LABELS = "\x1f"


@dataclass(slots=True)
class _FoundLink:
    """A link: the position of its text in the collected text, and its labels, which are
    titles and the texts in place of pictures.
    """

    target: str
    start: int
    end: int = 0
    labels: list[str] = field(default_factory=list)


def read_links(simple: str) -> list[Link]:
    """Return the links of a simple form, in the order in which they begin."""
    texts: list[str] = []
    size = 0
    links: list[_FoundLink] = []
    # Of each open element what separates its text from the text after it, and its link.
    stack: list[tuple[str, _FoundLink | None]] = []
    for token in tokens(simple):
        link = None
        text = ""
        if token.kind == "text":
            text = stripped(token.data)
        elif token.kind == "end":
            text, link = stack.pop()
            if link:
                link.end = size
        elif token.name in VOID:
            text = "" if token.name == "img" else "\n"
        else:
            text, text_after = _separators(token.name, token.attributes["style"])
            if "href" in token.attributes:
                link = _FoundLink(token.attributes["href"], size + len(text))
                links.append(link)
            stack.append((text_after, link))
        if labels := token.attributes["data-labels"]:
            for _, link in stack:
                if link:
                    link.labels += labels.split(_LABELS)
        texts.append(text)
        size += len(text)
    # Zero-width spaces, which `readable` removes, keep the positions as they were.
    whole = _TOUCHING.sub(
        lambda between: "\u200b" * len(between[0]), "".join(texts)
    ).translate(_BLANKS)
    read = []
    for link in links:
        before = whole[max(0, link.start - MAX_BESIDE) : link.start]
        after = whole[link.end : link.end + MAX_BESIDE]
        read.append(
            read_link(
                whole[link.start : link.end],
                link.target,
                labels=link.labels,
                before=before.rpartition(" ")[2],
                after=after.partition(" ")[0],
            )
        )
    return read


def _separators(tag: str, style: str) -> tuple[str, str]:
    """Return what separates the text of an element from the text before and after it;
    empty if they touch.
    """
    if tag in ("td", "th") or "display:inline-block" in style:
        return _CELL, _CELL
    if tag == "tr":
        return _APART, _APART
    if tag in BLOCKS or "display:block" in style:
        return "\n", "\n"
    return _gap(style, "left"), _gap(style, "right")


def _gap(style: str, side: str) -> str:
    """Return a mark if margin and padding on a side look like a space."""
    pixels = re.findall(f"(?:margin|padding)-{side}:([0-9]+)px", style)
    return _APART if sum(map(int, pixels)) >= _GAP else ""
