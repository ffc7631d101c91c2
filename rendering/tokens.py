"""Cuts HTML into tokens as the HTML standard says, in one pass that never goes back: linear for any input.

It does not build a tree and judges nothing. Where the standard lets text vanish (a tag that never ends), the text is
handed on as "lost", so that it can be announced.
"""

import html
import re
from collections.abc import Iterator, Mapping
from html.entities import html5
from typing import NamedTuple

from rendering.shown import Doubt

MAX_ATTRIBUTES = 100

_SPACE = "\t\n\f\r "
_SPACES = re.compile(f"[{_SPACE}]*")
_BETWEEN = re.compile(f"[{_SPACE}/]*")
_TAG_NAME = re.compile(f"[A-Za-z][^{_SPACE}/>]*")
_ATTRIBUTE_NAME = re.compile(f"[^{_SPACE}/>][^{_SPACE}/>=]*")
_UNQUOTED = re.compile(f"[^{_SPACE}>]*")
_COMMENT_END = re.compile("--!?>")
_REFERENCE = re.compile(r"&(?:#[xX]([0-9a-fA-F]+);?|#([0-9]+);?|([A-Za-z][A-Za-z0-9]{0,31};?))")

RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes", "title", "textarea"})
_REFERENCES_IN = frozenset({"title", "textarea"})
_RAW_END = {name: re.compile(f"</{name}(?=[{_SPACE}/>])", re.IGNORECASE) for name in RAW}


class Token(NamedTuple):
    """`kind` is start, end, text, raw (the inside of a raw text element), comment or lost."""

    kind: str
    name: str
    data: str
    attributes: Mapping[str, str] = {}


def decode(text: str, *, attribute: bool = False) -> str:
    """Return `text` with its character references resolved; in attributes `&copy=1` stays, as the standard says."""
    if "&" not in text:
        return text

    def resolve(match: re.Match[str]) -> str:
        hexadecimal, decimal, name = match.groups()
        if name is None:
            digits = (hexadecimal or decimal).lstrip("0") or "0"
            if len(digits) > 7:
                return "\ufffd"
            return html.unescape(f"&#{'x' if hexadecimal else ''}{digits};")
        if not attribute:
            return html.unescape(match.group())
        if not name.endswith(";") and (name not in html5 or text[match.end() : match.end() + 1] == "="):
            return match.group()
        return html5.get(name, match.group())

    return _REFERENCE.sub(resolve, text)


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of `source`. After the first svg or math no element is read as raw text any more.

    Inside those, the standard reads style, title and script as ordinary markup, and only the whole tree tells where
    they end. Reading everything as markup from there on shows too much rather than too little.
    """
    text = source.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")
    at, end, foreign = 0, len(text), False
    while at < end:
        opening = text.find("<", at)
        if opening == -1:
            opening = end
        if opening > at:
            yield Token("text", "", decode(text[at:opening]))
        if opening == end:
            return
        token, at = _markup(text, opening, foreign)
        if token is None:
            continue
        yield token
        if token.kind != "start":
            continue
        foreign = foreign or token.name in ("svg", "math")
        if token.name == "plaintext" and not foreign:
            yield Token("text", "", text[at:])
            return
        if token.name in RAW and not foreign:
            raw, at = _raw(text, at, token.name)
            yield raw


def _markup(text: str, at: int, foreign: bool) -> tuple[Token | None, int]:
    """Read what starts with the `<` at `at`; return its token, if any, and where to go on."""
    following = text[at + 1 : at + 2]
    if following.isascii() and following.isalpha():
        return _tag(text, at, at + 1, "start")
    if following == "/":
        third = text[at + 2 : at + 3]
        if third.isascii() and third.isalpha():
            return _tag(text, at, at + 2, "end")
        return (Token("text", "", "</"), at + 2) if not third else _bogus(text, at + 2)
    if text.startswith("<!--", at):
        return _comment(text, at)
    if foreign and text.startswith("<![CDATA[", at):
        return None, at + 9  # its inside is text there; read on as markup, which shows all of it
    if following in ("!", "?"):
        return _bogus(text, at + 1)
    return Token("text", "", "<"), at + 1


def _comment(text: str, at: int) -> tuple[Token, int]:
    for short in ("<!-->", "<!--->"):
        if text.startswith(short, at):
            return Token("comment", "", ""), at + len(short)
    closing = _COMMENT_END.search(text, at + 4)
    if closing is None:
        return Token("lost", "a comment that never ends", text[at + 4 :]), len(text)
    return Token("comment", "", text[at + 4 : closing.start()]), closing.end()


def _bogus(text: str, at: int) -> tuple[Token | None, int]:
    closing = text.find(">", at)
    if closing == -1:
        return Token("lost", "a tag that never ends", text[at:]), len(text)
    if closing == at:
        return None, at + 1
    return Token("comment", "", text[at:closing]), closing + 1


def _raw(text: str, at: int, name: str) -> tuple[Token, int]:
    closing = _RAW_END[name].search(text, at)
    if closing is None:
        return Token("lost", f"<{name}> that never ends", text[at:]), len(text)
    inside = text[at : closing.start()]
    return Token("raw", name, decode(inside) if name in _REFERENCES_IN else inside), closing.start()


def _tag(text: str, opening: int, at: int, kind: str) -> tuple[Token, int]:
    name = _TAG_NAME.match(text, at)
    assert name is not None
    at = name.end()
    attributes: dict[str, str] = {}
    count = 0
    while True:
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        if text.startswith(">", at):
            return Token(kind, name.group().lower(), "", attributes), at + 1
        found = _ATTRIBUTE_NAME.match(text, at)
        value, at = _value(text, found.end()) if found else (None, -1)
        if found is None or at == -1:
            return Token("lost", "a tag that never ends", text[opening:]), len(text)
        count += 1
        if count > MAX_ATTRIBUTES:
            raise Doubt(f"a tag has more than {MAX_ATTRIBUTES} attributes")
        attributes.setdefault(found.group().lower(), value or "")


def _value(text: str, at: int) -> tuple[str, int]:
    """Read `= value` after an attribute's name; -1 as the position says that the text ended inside it."""
    equals = _SPACES.match(text, at).end()  # type: ignore[union-attr]
    if not text.startswith("=", equals):
        return "", at
    at = _SPACES.match(text, equals + 1).end()  # type: ignore[union-attr]
    quote = text[at : at + 1]
    if quote in ('"', "'"):
        closing = text.find(quote, at + 1)
        return ("", -1) if closing == -1 else (text[at + 1 : closing], closing + 1)
    if not quote:
        return "", -1
    unquoted = _UNQUOTED.match(text, at)
    assert unquoted is not None
    return unquoted.group(), unquoted.end()
