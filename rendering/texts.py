"""The text of HTML, whether it shows or not: for search, to compare a message with
earlier ones, and to read sums.
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
# Attributes that are read, or that lead to what is read.
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
# A number alone in its cell; of what heads its column, so much counts.
_BARE = re.compile(r"[0-9][0-9.,'’ ]{0,30}")
_LONGEST_HEAD = 40
_TEXT_INSIDE = frozenset({"title", "textarea", "xmp"})


def words_of(source: str) -> str:
    """Return the text of HTML; HTML that cannot be read as it is."""
    try:
        return " ".join(
            one.data for one in tokens(source) if one.kind in ("text", "lost")
        )
    except TooComplex:
        return source


def template_of(source: str) -> str:
    """Return the text of HTML in its order with line ends, then the attributes that are
    read and its links' targets.

    At its end stands each number that fills a cell of a table, behind what heads its
    column.
    """
    try:
        return "".join((*_template(source), *_columns(source)))
    except TooComplex:
        return source


def outline_of(source: str) -> Outline:
    """Return the outline of HTML. Raises TooComplex."""
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
        # What is read stands in the text; of an attribute that is read, that it is
        # there.
        unread = {
            name: "" if name in _READ else value
            for name, value in token.attributes.items()
        }
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


def _template(source: str) -> Iterator[str]:
    attributes: dict[str, None] = {}
    raised = 0
    next_number: int | None = None
    for token in tokens(source):
        if token.kind == "text":
            # A line end in the source is a blank.
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
                # A list whose numbers its author chose.
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
    for one in attributes:
        yield f"\n\n{one}"


def _line_end(name: str) -> str:
    """Return the line ends that a tag of this name stands for."""
    if name in _PARAGRAPHS:
        return "\n\n"
    return "\n" if name in _LINES else ""


def _shortened(value: str) -> str:
    """Return the value of an attribute; of one that holds a whole file, what tells it
    from another.
    """
    if not value.lower().startswith("data:"):
        return value
    return f"data {hashlib.blake2b(value.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"


def _columns(source: str) -> Iterator[str]:
    """Yield numbers with the heads of their columns, such as "Amount (EUR) 5000"."""
    heads: list[str] = []
    for row in _rows(source):
        if not row or not heads:
            heads = [one[:_LONGEST_HEAD] for one in row]
            continue
        for head, one in zip(heads, row, strict=False):
            if _BARE.fullmatch(one):
                yield f"\n\n{head} {one}"


def _rows(source: str) -> Iterator[list[str]]:
    """Yield the texts of the cells of each row, and an empty row where a table begins
    or ends.
    """
    cells: list[list[str]] = []
    for token in tokens(source):
        if token.kind == "text" and cells:
            cells[-1].append(token.data)
        elif token.kind == "start" and token.name in ("td", "th"):
            cells.append([])
        elif token.name in ("tr", "table") and token.kind in ("start", "end"):
            if cells or token.name == "table":
                yield [" ".join("".join(one).split()) for one in cells]
            cells = []
    yield [" ".join("".join(one).split()) for one in cells]
