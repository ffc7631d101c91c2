"""The text of HTML, whether it shows or not: for search, and to compare a message with earlier ones."""

from collections.abc import Iterator

from rendering.html_reading import tokens
from rendering.result import Doubt

_LINES = frozenset({"p", "div", "br", "tr", "li", "h1", "h2", "h3"})
_TEXT_INSIDE = frozenset({"title", "textarea", "xmp"})


def words_of(source: str) -> str:
    """Return the text of HTML; HTML that cannot be read as it is."""
    try:
        return " ".join(one.data for one in tokens(source) if one.kind in ("text", "lost"))
    except Doubt:
        return source


def template_of(source: str) -> str:
    """Return the text of HTML in its order with line ends, then the targets of its links."""
    try:
        return " ".join(_template(source))
    except Doubt:
        return source


def _template(source: str) -> Iterator[str]:
    targets = []
    for token in tokens(source):
        if token.kind in ("text", "lost") or (token.kind == "raw" and token.name in _TEXT_INSIDE):
            yield token.data
        elif token.kind == "start":
            yield "\n" if token.name in _LINES else ""
            targets.append(token.attributes.get("href", ""))
    yield "\n"
    yield from dict.fromkeys(filter(None, targets))
