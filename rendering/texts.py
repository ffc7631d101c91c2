"""The text of HTML, whether it shows or not: for search, to compare a message with earlier ones, and to read sums."""

import hashlib
import json
import re
from collections.abc import Iterator

from rendering.html_reading import BLOCKS, TABLE_PARTS, tokens
from rendering.result import Doubt, Outline

_PARAGRAPHS = BLOCKS | TABLE_PARTS
_LINES = frozenset({"br", "option", "input", "button", "textarea", "select"})
# Attributes that are read, or that lead to what is read.
_READ = ("alt", "title", "value", "placeholder", "label", "aria-label", "content", "href", "src", "background")
_SPACES = re.compile(r"\s+")
# Stands for a tag in an outline. No text of a message holds it: see `without_marks`.
TAG = "\ue000"
# Characters for private use, which no message needs. The first is `TAG`; the others are for whoever compares texts.
_MARKS = re.compile("[\ue000-\ue00f]")
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


def without_marks(text: str) -> str:
    """Return `text` with a sign in place of the characters that are used as marks."""
    return _MARKS.sub("\ufffd", text)


def outline_of(source: str) -> Outline:
    """Return the outline of HTML. Raises Doubt."""
    text: list[str] = []
    values: list[str] = []
    markup = hashlib.blake2b(digest_size=16)
    for token in tokens(source):
        is_read = token.kind in ("text", "lost") or (token.kind == "raw" and token.name in _TEXT_INSIDE)
        if is_read:
            text.append(without_marks(token.data))
        if token.kind == "text":
            continue
        text.append(TAG)
        # What is read stands in the text; of an attribute that is read, that it is there.
        unread = {name: "" if name in _READ else value for name, value in token.attributes.items()}
        written = json.dumps([token.kind, token.name, "" if is_read else token.data, sorted(unread.items())])
        markup.update(f"{written}\n".encode())
        values += (_shortened(token.attributes[name]) for name in _READ if token.attributes.get(name))
        text.append("\n\n" if token.name in _PARAGRAPHS else "\n" if token.name in _LINES else "")
    text += (f"\n\n{TAG}{without_marks(one)}" for one in values)
    return Outline("".join(text), markup.hexdigest())


def outline_of_text(source: str) -> Outline:
    """Return the outline of a body whose markup is not read."""
    return Outline(without_marks(source))


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
