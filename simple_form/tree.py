"""Reads a message's HTML into a regular tree: its elements, its texts, its style sheets,
and what is left out of it.

Scripts, frames, forms and everything else that loads or acts is left out here. Where a
browser would move elements, or repeat them, they are closed instead, and the message
counts as different.
"""

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import nh3

from simple_form.declarations import (
    Declaration,
    declarations_of,
    is_harmless,
    rows,
)
from simple_form.elements import TAGS, Element, is_tick, odd_about, styles_of, tag_of
from simple_form.html_reading import (
    BLANKS,
    BLOCKS,
    TABLE_PARTS,
    VOID,
    Token,
    Values,
    ascii_lower,
    decode,
    tokens,
)
from simple_form.result import LEFT_OUT, Change, TooComplex
from simple_form.style_sheets import StyleSheets

__all__ = ["TAGS", "Tree", "cleaned", "without_tags"]

# Limits of the HTML of one message: tags, elements in each other, characters of text, of
# style attributes, and of the words that a change quotes.
MAX_TAGS = 20_000
MAX_DEPTH = 200
MAX_TEXT = 2_000_000
MAX_STYLES = 400_000
MOST_PASSAGE = 2_000
Piece = Element | str | int | None
# The beginning of the style of the element around a simple form.
WRAPS = "overflow-wrap:break-word;"
# Tags, which open elements they end, and the elements around which they do not look.
_ENDS = """
tbody              tbody    table
tr                 tr       table
td th              td th    table
li                 li       table td th ul ol dl dt dd blockquote pre h1 h2 h3 h4 h5 h6
dt dd              dt dd    table td th ul ol dl li blockquote pre h1 h2 h3 h4 h5 h6
a                  a        table td th
"""
_ENDED = {
    tag: (ended.split(), stops.split())
    for tags, ended, stops in rows(_ENDS)
    for tag in tags.split()
}
_CELLS = ("table", "td", "th", "caption")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
# The part of a table that stands in each of these.
_PART_IN = {"table": "tbody", "tbody": "tr", "tr": "td"}
_IMPLIED = {part: Token("start", part, "") for part in (*_PART_IN.values(), "p", "br")}
# Elements that a browser opens again after the end of a block in which they are open.
_FORMATTING = frozenset(
    "a b big code em font i nobr s small strike strong tt u".split()
)
_CONDITION = re.compile(r"\[\s{0,20}if\b([^\]]{0,200})\]", re.IGNORECASE | re.ASCII)
_SETTINGS = re.compile(
    r"<(xml|style)\b.*?(?:</\1\s*>|\Z)|<!\[endif\]", re.IGNORECASE | re.DOTALL
)
_LINK = re.compile(r"<[^<>]*?\b(?:href|src)\s*=\s*[\"']?([^\"'\s<>]++)")
_TAG = re.compile(r"<[^<>]*>")


def without_tags(text: str) -> str:
    """Return the text of some HTML, on one line."""
    return " ".join(decode(_TAG.sub(" ", text)).split())


def _is_wrapper(piece: Piece) -> bool:
    return (
        isinstance(piece, Element)
        and piece.tag == "div"
        and piece.attributes["style"].startswith(WRAPS)
    )


class Tree:
    """The elements and texts of a message's HTML, and its style sheets.

    `pieces` has an element where it starts, None where one ends, texts, and in place of
    words that were left out the index of their change. All lies in one element, which
    stands for the page. Raises TooComplex.
    """

    def __init__(self, source: str) -> None:
        if source.count("<") > MAX_TAGS:
            raise TooComplex(f"it has more than {MAX_TAGS} tags")
        self.pieces: list[Piece] = []
        self.changes: list[Change] = []
        self.odd: dict[str, None] = {}
        self.base = ""
        self.sheets = StyleSheets(self.odd)
        self._page = Values()
        self._open: list[Element] = []
        self._elements: dict[Token, Element] = {}
        self._undrawn: dict[Element, None] = {}
        self._declarations_of = cache(declarations_of)
        self._texts = self._styles = 0
        # Pieces that stand in no element.
        self._outermost = 0
        for token in tokens(source):
            getattr(self, f"_on_{token.kind}")(token)
        if self._open:
            self._end_from(0)
        for element in self._undrawn:
            self._judge_undrawn(element)
        is_simple = self._outermost == 1 and not (self._page or self._undrawn)
        if not is_simple or not _is_wrapper(self.pieces[0]):
            page = Element("body", "div", self._page)
            self.pieces = [page, *self.pieces, None]

    def declared(self, element: Element) -> tuple[list[Declaration], list[Declaration]]:
        """Return all declarations that apply to an element, and those that it makes
        itself, by attributes. Later ones win.
        """
        by_attributes = list(styles_of(element))
        style = self._declarations_of(element.attributes["style"])
        sheets = self.sheets.of(element.name, element.attributes)
        if element.name == "body":
            sheets = [*self.sheets.of("html", element.attributes), *sheets]
        return [*by_attributes, *sheets, *style], [*by_attributes, *style]

    def _note(self, how: str) -> None:
        self.odd[how] = None

    def _put(self, piece: Element | str | int) -> None:
        self._outermost += not self._open
        self.pieces.append(piece)

    def _on_start(self, token: Token) -> None:
        element = self._elements.get(token)
        if element is None:
            element = Element(token.name, tag_of(token.name), token.decoded())
            self._elements[token] = element
            self._styles += len(element.attributes["style"])
            if self._styles > MAX_STYLES:
                raise TooComplex("its styles are too large to read")
            self.odd.update(dict.fromkeys(odd_about(element)))
        tag = element.tag
        if tag == "-":
            self._pass_over(element)
            return
        ended, stops = _ENDED.get(tag, ((), ()))
        if stops == ["table"] and not any(one.tag == "table" for one in self._open):
            self._note(f"<{element.name}> outside of a table")
            return
        self._end(ended, stops)
        if tag in BLOCKS:
            self._end(("p",), _CELLS)
        if tag in _HEADINGS and self._open and self._open[-1].tag in _HEADINGS:
            self._end_from(len(self._open) - 1)
        self._open_parts(tag)
        tags = (one for one in reversed(self.pieces) if not isinstance(one, str))
        if element.name == "thead" and next(tags) is None:
            self._note("the head of a table after its rows")
        self._put(element)
        if tag not in VOID:
            self._open.append(element)
            if len(self._open) > MAX_DEPTH:
                raise TooComplex(f"its parts are nested more than {MAX_DEPTH} deep")
        if element.name == "q":
            self._put("“")

    def _on_end(self, token: Token) -> None:
        name = token.name
        tag = tag_of(name)
        if name == "br":
            self._on_start(_IMPLIED[name])
            return
        if tag in TABLE_PARTS or tag == "table":
            stops = {"table"} - {tag}
        elif tag in BLOCKS or name in _FORMATTING:
            stops = {*_CELLS} - {tag}
        else:
            stops = {*_CELLS, *BLOCKS}
        if name == "li":
            stops |= {"ul", "ol"}
        names = _HEADINGS if name in _HEADINGS else (name,)
        if not self._end(names, stops, by_name=True) and name == "p":
            # The standard reads it as an empty paragraph.
            self._on_start(_IMPLIED[name])
            self._on_end(token)

    def _on_text(self, token: Token) -> None:
        self._texts += len(token.data)
        if self._texts > MAX_TEXT:
            raise TooComplex(f"it has more than {MAX_TEXT} characters of text")
        if token.data.strip(BLANKS):
            self._open_parts("")
        self._put(token.data)

    def _on_raw(self, token: Token) -> None:
        if token.name == "style":
            self.sheets.read(token.data)
        elif token.name in ("textarea", "xmp"):
            self._on_text(token)
        elif token.name not in ("script", "title"):
            self._leave_out(f"inside of <{token.name}>", without_tags(token.data))

    def _on_lost(self, token: Token) -> None:
        self._note(token.name)
        self._leave_out(f"inside of {token.name}", without_tags(token.data))

    def _on_comment(self, token: Token) -> None:
        data = token.data
        match = _CONDITION.search(data)
        is_usual = match or ascii_lower(data[:9]) in ("<!doctype", "<![endif]")
        if token.name == "abrupt" or (token.name == "declaration" and not is_usual):
            self._note("a comment that programs read in different ways")
        if match is None:
            return
        inside = data[match.end() :].removeprefix(">")
        if not inside.strip(" \n<!->") and "support" not in match[1]:
            self._note("a part for some programs only (a conditional comment)")
        words = without_tags(_LINK.sub(r" (\1) <", _SETTINGS.sub("", inside)))
        self._leave_out("in a comment that only Outlook reads", words)
        if "<style" in ascii_lower(inside) and not words:
            self._note("styles for Outlook")

    def _pass_over(self, element: Element) -> None:
        name = element.name
        attributes = element.attributes
        if name == "base":
            self.base = self.base or attributes["href"]
        elif name in ("html", "body"):
            style = f"{attributes['style']};{self._page['style']}".strip(";")
            self._page = Values({**attributes, **self._page, "style": style})
        elif name == "area" and attributes["href"]:
            words = f"{attributes['alt']} ({attributes['href']})"
            self._leave_out("a link in a picture", words)
        elif is_tick(element):
            tick = "☑" if "checked" in attributes else "☐"
            self._on_text(Token("text", "", tick))
        elif name == "input" and ascii_lower(attributes["type"]) != "hidden":
            words = attributes["value"] or attributes["placeholder"]
            self._leave_out("a form field", words)
        else:
            self._undrawn[element] = None

    def _judge_undrawn(self, element: Element) -> None:
        """Note styles that could show an element, or the background of a column."""
        for one in self.declared(element)[0]:
            is_width = "width" in one.name or one == ("display", "none", False)
            is_back = element.name.startswith("col") and "background" in one.name
            is_same = is_harmless(one, element.name) and one.name != "display"
            if is_back or not (is_width or is_same):
                self._note(f"<{element.name}> with a style")

    def _leave_out(self, how: str, words: str) -> None:
        words = " ".join(words.split())
        if words:
            self._put(len(self.changes))
            self.changes.append(Change(LEFT_OUT, how, words[:MOST_PASSAGE]))

    def _open_parts(self, tag: str) -> None:
        """Open the parts of a table that must stand around this tag; "" for text."""
        while self._open and (part := _PART_IN.get(self._open[-1].tag)):
            if tag == part or (part == "td" and tag == "th"):
                return
            if part == "td":
                self._note("words in a table outside of its cells")
            self._on_start(_IMPLIED[part])

    def _end(
        self, names: Collection[str], stops: Collection[str], *, by_name: bool = False
    ) -> bool:
        """End the innermost open element with one of these tags, or names in the
        message, unless one of the tags `stops` is around it. Return whether there is one.
        """
        for at in reversed(range(len(self._open))):
            one = self._open[at].name if by_name else self._open[at].tag
            if one in names:
                self._end_from(at)
                return True
            if one in stops:
                return False
        return False

    def _end_from(self, at: int) -> None:
        """End an open element and all that are inside of it."""
        inner = {one.name for one in self._open[at + 1 :]}
        if self._open[at].name in _FORMATTING:
            is_crossed = inner != set()
        else:
            is_row = self._open[at].tag in TABLE_PARTS
            is_crossed = not is_row and bool(inner & _FORMATTING)
        if is_crossed:
            self._note("tags that are closed across each other")
        while len(self._open) > at:
            if self._open[-1].name == "q":
                self._put("”")
            self._open.pop()
            self.pieces.append(None)


def cleaned(
    written: str,
    *,
    values: Mapping[str, re.Pattern[str]],
    **settings: Any,
) -> str:
    """Return HTML as nh3 cleans it with these settings. `values` has patterns by
    attribute: an attribute whose value does not match is left out. Raises TooComplex if
    nh3 fails.
    """

    def checked(tag: str, attribute: str, value: str) -> str | None:
        pattern = values.get(attribute)
        return value if pattern is None or pattern.fullmatch(value) else None

    try:
        return nh3.clean(
            written,
            attribute_filter=checked,
            url_relative="deny",
            link_rel=None,
            **settings,
        )
    except BaseException as error:
        # A panic in Rust arrives as a BaseException with this name.
        if type(error).__name__ == "PanicException":
            raise TooComplex("it could not be made safe to show") from error
        raise
