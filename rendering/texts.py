"""Extracts the text of a message's HTML, visible or not: `words_of` for search,
`template_of` to read amounts of money, `outline_of` to compare messages.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from itertools import chain

from rendering.result import TAG, Outline, without_marks
from simple_form import TooComplex
from simple_form.html_reading import BLOCKS, TABLE_PARTS, Token, tokens

_PARAGRAPHS = BLOCKS | TABLE_PARTS
_LINES = frozenset("br option input button textarea select".split())
# Attributes with words or addresses that a recipient sees, hears or follows.
_READ = tuple(
    "alt title value placeholder label aria-label content href src background".split()
)
_SPACES = re.compile(r"\s+")
# Digits that are raised or lowered, so that 10 with a raised 6 is not 106.
RAISED = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
RAISING = {"sup", "sub"}
# A cell with nothing but a number, and how many characters of its column's head are put
# before it.
_BARE = re.compile(r"[0-9][0-9.,'’ ]{0,30}")
_LONGEST_HEAD = 40
# Ends a table whose end is not written.
_LAST = Token("end", "table")
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
        data = token.data
        if _is_text(token):
            text.append(without_marks(data))
            data = ""
        if token.kind == "text":
            continue
        text += (TAG, _line_end(token.name))
        # The digest has no words and no values of attributes in `_READ`, only their
        # names: the values are in the text.
        unread = dict(token.attributes)
        unread.update(dict.fromkeys(unread.keys() & _READ, ""))
        written = json.dumps([token.kind, token.name, data, sorted(unread.items())])
        markup.update(f"{written}\n".encode())
        values += _read_values(token)
    text += (f"\n\n{TAG}{without_marks(one)}" for one in values)
    return Outline("".join(text), markup.hexdigest())


# Yields the pieces of `template_of`, except for the numbers of columns.
def _template(source: str) -> Iterator[str]:
    values: list[str] = []
    raised = 0
    next_number: int | None = None
    for token in tokens(source):
        if token.kind == "text":
            # HTML shows a line end in its source as a space.
            written = _SPACES.sub(" ", token.data)
            yield written.translate(RAISED) if raised else written
        elif _is_text(token):
            yield f"\n{token.data}\n"
        elif token.kind in ("start", "end"):
            yield _line_end(token.name)
            if token.name in RAISING:
                raised = max(raised + (1 if token.kind == "start" else -1), 0)
            elif token.kind == "start" and token.name in ("ol", "li"):
                # A list whose author chose its numbers: they are written out.
                name = "start" if token.name == "ol" else "value"
                chosen = token.attributes[name].strip()
                if re.fullmatch("[0-9]{1,9}", chosen):
                    next_number = int(chosen)
                if token.name == "li" and next_number is not None:
                    yield f"{next_number}. "
                    next_number += 1
            values += _read_values(token)
    for value in dict.fromkeys(values):
        yield f"\n\n{value}"


def _is_text(token: Token) -> bool:
    """Whether the data of a token is text that a recipient may see."""
    is_inside = token.kind == "raw" and token.name in _TEXT_INSIDE
    return is_inside or token.kind in ("text", "lost")


def _read_values(token: Token) -> Iterator[str]:
    """Yield the values of a tag's attributes in `_READ`; of a whole file (`data:`) a
    digest.
    """
    for value in filter(None, map(token.attributes.get, _READ)):
        if value.lower().startswith("data:"):
            digest = hashlib.blake2b(value.encode("utf-8", "replace"), digest_size=16)
            value = f"data {digest.hexdigest()}"
        yield value


def _line_end(name: str) -> str:
    """Return the line ends that a tag of this name stands for."""
    if name in _PARAGRAPHS:
        return "\n\n"
    return "\n" if name in _LINES else ""


def _columns(source: str) -> Iterator[str]:
    """Yield numbers with the heads of their columns, such as "Amount (EUR) 5000"."""
    heads: list[str] = []
    cells: list[list[str]] = []
    for token in chain(tokens(source), [_LAST]):
        if token.kind == "text" and cells:
            cells[-1].append(token.data)
        elif token.kind == "start" and token.name in ("td", "th"):
            cells.append([])
        elif token.kind in ("start", "end") and token.name in ("tr", "table"):
            row = [" ".join("".join(pieces).split()) for pieces in cells]
            cells = []
            if row and heads:
                for head, cell in zip(heads, row, strict=False):
                    if _BARE.fullmatch(cell):
                        yield f"\n\n{head} {cell}"
            elif row or token.name == "table":
                heads = [cell[:_LONGEST_HEAD] for cell in row]
