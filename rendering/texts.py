"""The text of HTML, whether it shows or not: for search, to compare a message with earlier ones, and to read sums."""

import hashlib
import re
from collections.abc import Iterator

from rendering.html_reading import BLOCKS, TABLE_PARTS, tokens
from rendering.result import Doubt

_PARAGRAPHS = BLOCKS | TABLE_PARTS
_LINES = frozenset({"br", "option", "input", "button", "textarea", "select"})
# Attributes that are read, or that lead to what is read.
_READ = ("alt", "title", "value", "placeholder", "label", "aria-label", "content", "href", "src", "background")
_SPACES = re.compile(r"\s+")
_TEXT_INSIDE = frozenset({"title", "textarea", "xmp"})


def words_of(source: str) -> str:
    """Return the text of HTML; HTML that cannot be read as it is."""
    try:
        return " ".join(one.data for one in tokens(source) if one.kind in ("text", "lost"))
    except Doubt:
        return source


def template_of(source: str) -> str:
    """Return the text of HTML in its order with line ends, then the attributes that are read and its links' targets."""
    try:
        return "".join(_template(source))
    except Doubt:
        return source


def _template(source: str) -> Iterator[str]:
    attributes: dict[str, None] = {}
    for token in tokens(source):
        if token.kind == "text":
            # A line end in the source is a blank.
            yield _SPACES.sub(" ", token.data)
        elif token.kind == "lost" or (token.kind == "raw" and token.name in _TEXT_INSIDE):
            yield f"\n{token.data}\n"
        elif token.kind in ("start", "end"):
            yield "\n\n" if token.name in _PARAGRAPHS else "\n" if token.name in _LINES else ""
            attributes |= {_shortened(token.attributes[name]): None for name in _READ if token.attributes.get(name)}
    for one in attributes:
        yield f"\n\n{one}"


def _shortened(value: str) -> str:
    """Return the value of an attribute; of one that holds a whole file, what tells it from another."""
    if not value.lower().startswith("data:"):
        return value
    return f"data {hashlib.blake2b(value.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"
