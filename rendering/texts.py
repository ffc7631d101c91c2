"""Extracts the text of a message's HTML, visible or not: `words_of` for search,
`template_of` to read amounts of money, `outline_of` to compare messages.
"""

import hashlib
import json
import re
from collections.abc import Iterator

from rendering.result import TAG, Outline, without_marks
from simple_form import TooComplex
from simple_form.html_reading import BLOCKS, TABLE_PARTS, tokens

_PARAGRAPHS = BLOCKS | TABLE_PARTS
_LINES = frozenset({"br", "option", "input", "button", "textarea", "select"})
# Attributes with words or addresses that a recipient sees, hears or follows.
_READ = (
    "alt",
    "title",
    "value",
    "placeholder",
    "label",
    "aria-label",
    "content",
    "href",
    "src",
    "background",
)
_SPACES = re.compile(r"\s+")
# Digits that are raised or lowered, so that 10 with a raised 6 is not 106.
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
# A cell with nothing but a number, and how many characters of its column's head are put
# before it.
_BARE = re.compile(r"[0-9][0-9.,'’ ]{0,30}")
_LONGEST_HEAD = 40
# Elements whose raw content is text.
_TEXT_INSIDE = frozenset({"title", "textarea", "xmp"})


def words_of(source: str) -> str:
    """Return the texts of HTML, joined by spaces; its source if it is TooComplex."""
    try:
        return " ".join(
            token.data for token in tokens(source) if token.kind in ("text", "lost")
        )
    except TooComplex:
        return source


def template_of(source: str) -> str:
    """Return the text of HTML in order with line ends, then the values of the
    attributes in `_READ`; the source if it cannot be parsed.

    At the end comes each number that fills a table cell, after the head of its column.
    """
    try:
        return "".join((*_template(source), *_columns(source)))
    except TooComplex:
        return source


def outline_of(source: str) -> Outline:
    """Return the outline of HTML: the text with marks for tags, then the values of the
    attributes in `_READ`. Raises TooComplex.
    """
    text: list[str] = []
    values: list[str] = []
    markup = hashlib.blake2b(digest_size=16)
    for token in tokens(source):
        is_read = token.kind in ("text", "lost") or (
            token.kind == "raw" and token.name in _TEXT_INSIDE
        )
        if is_read:
            text.append(without_marks(token.data))
        if token.kind == "text":
            continue
        text.append(TAG)
        # The digest has no words and no values of attributes in `_READ`, only their
        # names: the values are in the text.
        unread = dict(token.attributes)
        for name in unread.keys() & _READ:
            unread[name] = ""
        written = json.dumps(
            [
                token.kind,
                token.name,
                "" if is_read else token.data,
                sorted(unread.items()),
            ]
        )
        markup.update(f"{written}\n".encode())
        values += (
            _shortened(token.attributes[name])
            for name in _READ
            if token.attributes.get(name)
        )
        text.append(_line_end(token.name))
    text += (f"\n\n{TAG}{without_marks(one)}" for one in values)
    return Outline("".join(text), markup.hexdigest())


# Yields the pieces of `template_of`, except for the numbers of columns.
def _template(source: str) -> Iterator[str]:
    attributes: dict[str, None] = {}
    raised = 0
    next_number: int | None = None
    for token in tokens(source):
        if token.kind == "text":
            # HTML shows a line end in its source as a space.
            written = _SPACES.sub(" ", token.data)
            yield written.translate(_RAISED) if raised else written
        elif token.kind == "lost" or (
            token.kind == "raw" and token.name in _TEXT_INSIDE
        ):
            yield f"\n{token.data}\n"
        elif token.kind in ("start", "end"):
            yield _line_end(token.name)
            if token.name in ("sup", "sub"):
                raised = max(raised + (1 if token.kind == "start" else -1), 0)
            elif token.kind == "start" and token.name in ("ol", "li"):
                # A list whose author chose its numbers: they are written out.
                name = "start" if token.name == "ol" else "value"
                chosen = token.attributes.get(name, "").strip()
                if re.fullmatch("[0-9]{1,9}", chosen):
                    next_number = int(chosen)
                if token.name == "li" and next_number is not None:
                    yield f"{next_number}. "
                    next_number += 1
            attributes |= {
                _shortened(token.attributes[name]): None
                for name in _READ
                if token.attributes.get(name)
            }
    for value in attributes:
        yield f"\n\n{value}"


def _line_end(name: str) -> str:
    """Return the line ends that a tag of this name stands for."""
    if name in _PARAGRAPHS:
        return "\n\n"
    return "\n" if name in _LINES else ""


def _shortened(value: str) -> str:
    """Return the value of an attribute; a digest in place of a whole file (`data:`)."""
    if not value.lower().startswith("data:"):
        return value
    return f"data {hashlib.blake2b(value.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"


def _columns(source: str) -> Iterator[str]:
    """Yield numbers with the heads of their columns, such as "Amount (EUR) 5000"."""
    heads: list[str] = []
    for row in _rows(source):
        if not row or not heads:
            heads = [cell[:_LONGEST_HEAD] for cell in row]
            continue
        for head, cell in zip(heads, row, strict=False):
            if _BARE.fullmatch(cell):
                yield f"\n\n{head} {cell}"


def _rows(source: str) -> Iterator[list[str]]:
    """Yield the texts of the cells of each table row, and an empty row where a table
    begins or ends.
    """
    cells: list[list[str]] = []
    for token in tokens(source):
        if token.kind == "text" and cells:
            cells[-1].append(token.data)
        elif token.kind == "start" and token.name in ("td", "th"):
            cells.append([])
        elif token.name in ("tr", "table") and token.kind in ("start", "end"):
            if cells or token.name == "table":
                yield [" ".join("".join(pieces).split()) for pieces in cells]
            cells = []
    yield [" ".join("".join(pieces).split()) for pieces in cells]
