"""Reads the comments that Outlook takes for parts of the letter: what it says there, links to and loads."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from rendering import loads
from rendering.shown import Doubt
from rendering.tokens import decode, tokens

_OPENING = re.compile(r"\[\s{0,20}if\b[^\]]{0,200}\]\s{0,20}>", re.IGNORECASE)
_CLOSING = re.compile(r"<!\s{0,20}\[\s{0,20}endif", re.IGNORECASE)
_ANY_TAG = re.compile(r"<[^<>]*>")


class Conditional(NamedTuple):
    """What one such comment holds."""

    text: str
    links: list[tuple[str, str]]
    fetched: list[loads.Load]


def conditional(comment: str) -> Conditional | None:
    """Return what Outlook shows of a comment; None where it shows nothing."""
    inside = "".join(_insides(comment))
    if not inside:
        return None
    text = without_tags(inside)
    links: list[tuple[str, str]] = []
    fetched: list[loads.Load] = []
    try:
        for token in tokens(inside):
            if token.kind != "start":
                continue
            fetched += loads.of_tag(token.name, token.attributes)
            if token.name in ("a", "area") and "href" in token.attributes:
                links.append((text, decode(token.attributes["href"], attribute=True)))
    except Doubt:
        pass  # Its text is announced all the same.
    return Conditional(text, links, fetched)


def _insides(comment: str) -> Iterator[str]:
    """A comment may hold several such parts; one without an end goes on to the end of the comment."""
    at = 0
    while opening := _OPENING.search(comment, at):
        closing = _CLOSING.search(comment, opening.end())
        at = closing.end() if closing else len(comment)
        yield f" {comment[opening.end() : closing.start() if closing else at]} "


def without_tags(text: str) -> str:
    """Return the words of some markup."""
    return " ".join(decode(_ANY_TAG.sub(" ", text)).split())
