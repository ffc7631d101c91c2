"""Reads a message's HTML into a regular tree: its elements, its texts, its style sheets,
and what is left out of it.

Scripts, frames, forms and everything else that loads or acts is left out here. Where a
browser would move elements, or repeat them, they are ended instead, and the message
counts as different.
"""

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, NamedTuple

import nh3

from simple_form.data import table
from simple_form.declarations import Declaration, declarations_of, is_usual
from simple_form.elements import DEFAULTS, TAGS, odd_about, styles_of, tag_of
from simple_form.html_reading import (
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
from simple_form.style_sheets import ADDRESS, StyleSheets, addresses_in

# Limits of the HTML of one message: tags, elements in each other, and characters of
# style attributes.
MAX_TAGS = 20_000
MAX_DEPTH = 200
MAX_STYLES = 400_000
# The beginning of the style of the element around a simple form.
WRAPS = "list-style-position:inside;overflow-wrap:break-word;"
# See `ends.txt`.
_ENDS = [list(map(str.split, row)) for row in table("ends.txt")]
_CELLS = frozenset("table td th caption marquee".split())
_HEADINGS = frozenset("h1 h2 h3 h4 h5 h6".split())
# The part of a table that stands in each of these.
_PART_IN = {"table": "tbody", "tbody": "tr", "tr": "td"}
# Elements that a browser opens again after the end of a block in which they are open,
# and elements that end by themselves.
_FORMATTING = frozenset(
    "a b big code em font i nobr s small strike strong tt u".split()
)
_OPTIONAL = frozenset("p li dd dt td th tr tbody thead tfoot caption option".split())
# Elements around a message, or before it, that are not drawn.
_OF_PAGE = frozenset("html head body meta title style".split())
# Attributes from whose address something is loaded; links have the first, too.
_LOADING = frozenset(
    "href xlink:href src srcset imagesrcset poster background data lowsrc dynsrc icon code codebase archive".split()
)
_CONDITION = re.compile(r"(?ai)\[\s{0,20}if\b([^\]]{0,200})\]>?")
_SETTINGS = re.compile(r"(?is)<(xml|style)\b.*?(?:</\1\s*>|\Z)|<!\[endif\]")
_LINK = re.compile(r"<[^<>]*?\b(?:href|src)\s*=\s*[\"']?([^\"'\s<>]++)")
_TAG = re.compile(r"<[^<>]*>")


def without_tags(text: str) -> str:
    """Return the text of some HTML, on one line."""
    return " ".join(decode(_TAG.sub(" ", text)).split())


class Declared(NamedTuple):
    """What is declared for an element: what it has by itself, by its attributes, by
    style sheets, and by its own style.
    """

    itself: list[Declaration]
    attributes: list[Declaration]
    sheets: list[Declaration]
    style: list[Declaration]

    def together(self) -> list[Declaration]:
        """Return all; later ones win."""
        return [*self.itself, *self.attributes, *self.sheets, *self.style]


class Tree:
    """The elements and texts of a message's HTML, and its style sheets.

    `pieces` has an element where it starts, None where one ends, texts, and in place of
    words that were left out the index of their change. All lies in one element, which
    stands for the page. `odd` has what may look different; `is_plain` if there are no
    style sheets, no parts that are not drawn, and nothing else that a program may read
    in its own way. `loads` has the addresses that something is loaded from, other than
    the `src` of pictures. Raises TooComplex.
    """

    def __init__(self, source: str) -> None:
        if source.count("<") > MAX_TAGS:
            raise TooComplex(f"it has more than {MAX_TAGS} tags")
        self.pieces: list[Token | str | int | None] = []
        self.changes: list[Change] = []
        self.odd: dict[str, None] = {}
        self.is_plain = True
        self.loads: dict[str, None] = {}
        self._sheets = StyleSheets(self.odd)
        self._page = Values()
        # The attributes of the row around a cell that has no words yet.
        self._row = Values()
        # What programs write around the words of elements.
        self._signs = {"q": "“”"} | ({} if "<rp" in source else {"rt": "()"})
        self._open: list[Token] = []
        self._undrawn: list[Token] = []
        self._declarations_of = cache(declarations_of)
        self._addresses_in = cache(addresses_in)
        # Pieces that are in no element, and characters of style attributes.
        self._outermost = self._styles = 0
        for token in tokens(source):
            getattr(self, f"_on_{token.kind}")(token)
        self._end_from(0)
        for element in self._undrawn:
            # Styles could show it, or be the background of a column.
            for one in self.declared(element).together():
                is_plain = one.value == "none" or "width" in one.name
                if not is_plain and (
                    one.name in ("display", "background-color") or not is_usual(one)
                ):
                    self.note(f"<{element.name}> with a style")
        first = self.pieces[0] if self._outermost == 1 else None
        is_page = isinstance(first, Token) and first.name == "div"
        if self._page or self._undrawn or not is_page:
            self.pieces = [Token("start", "body", "", self._page), *self.pieces, None]

    def declared(self, element: Token) -> "Declared":
        """Return what is declared for an element."""
        return Declared(
            self._declarations_of(DEFAULTS.get(element.name, "")),
            [*styles_of(element)],
            self._sheets.of(element),
            self._declarations_of(element.attributes["style"]),
        )

    def note(self, how: str) -> None:
        """Note something that may look different in other programs."""
        self.odd[how] = None

    def _put(self, piece: Token | str | int) -> None:
        self._outermost += not self._open
        self.pieces.append(piece)

    def _on_start(self, token: Token) -> None:
        name = token.name
        tag = tag_of(name)
        self._styles += len(token.attributes["style"])
        if self._styles > MAX_STYLES:
            raise TooComplex("its styles are too large to read")
        for attribute, value in token.attributes.items():
            is_picture = name == "img" and attribute == "src"
            if attribute in _LOADING and not is_picture and name not in ("a", "area"):
                self.loads |= dict.fromkeys(ADDRESS.findall(value))
        self.loads |= dict.fromkeys(self._addresses_in(token.attributes["style"]))
        if tag == "-":
            self._pass_over(token)
            return
        if tag in TABLE_PARTS and all(one.name != "table" for one in self._open):
            self.note(f"<{name}> outside of a table")
            return
        for tags, ended, around in _ENDS:
            if tag in tags:
                self._end(ended, around)
        if tag in _HEADINGS:
            self._end(_HEADINGS, TAGS)
        self._open_parts(tag)
        is_in_list = any(tag_of(one.name) in ("ol", "ul") for one in self._open)
        if tag == "li" and not is_in_list:
            # Where its bullet stands is known only in what was written here.
            styles = [one.attributes["style"] for one in self._open]
            self.is_plain &= any(WRAPS in one for one in styles)
        if tag in ("td", "th"):
            self._row = self._open[-1].attributes
        if tag == "tr":
            token = Token("start", name, "", Values(token.attributes))
        if name == "thead" and self.pieces[-1] is None:
            self.note("the head of a table after its rows")
        self._put(token)
        if tag not in VOID:
            self._open.append(token)
        self.pieces += self._signs.get(name, "")[:1]
        if len(self._open) > MAX_DEPTH:
            raise TooComplex(f"its parts are nested more than {MAX_DEPTH} deep")

    def _on_end(self, token: Token) -> None:
        name = token.name
        tag = tag_of(name)
        if name in ("br", "p") and all(one.name != name for one in self._open):
            # Browsers read it as an empty line.
            self.is_plain = False
            self._on_start(Token("start", "br"))
        stops = _CELLS | BLOCKS
        if tag in TABLE_PARTS or tag == "table":
            stops = frozenset(["table"])
        elif tag in BLOCKS or name in _FORMATTING:
            stops = _CELLS
        self._end(_HEADINGS if name in _HEADINGS else (name,), stops)

    def _on_text(self, token: Token) -> None:
        if token.data.strip():
            self._open_parts("")
            # Cells with words are counted.
            self._row["cells"] += "x"
            self._row = Values()
        elif self._open and tag_of(self._open[-1].name) in _PART_IN:
            return
        self._put(token.data)

    def _on_raw(self, token: Token) -> None:
        name = token.name
        self.is_plain &= name == "title" or not token.data.strip()
        if name == "style":
            self._sheets.read(token.data)
            self.loads |= dict.fromkeys(addresses_in(token.data))
        elif name in ("textarea", "xmp"):
            self._on_text(Token("text", "", decode(token.data)))
        elif name not in ("script", "title"):
            self._leave_out(f"inside of <{name}>", without_tags(token.data))

    def _on_lost(self, token: Token) -> None:
        self.note(token.name)
        # In this element, tags are words.
        words = token.data
        if "plaintext" not in token.name:
            words = without_tags(words)
        self._leave_out(f"inside of {token.name}", words)

    def _on_comment(self, token: Token) -> None:
        data = token.data
        match = _CONDITION.search(data)
        is_usual = match or ascii_lower(data[:9]) in ("<!doctype", "<![endif]")
        if token.name == "abrupt" or (token.name == "declaration" and not is_usual):
            self.note("a comment that programs read in different ways")
        if match is None:
            return
        self.is_plain = False
        inside = data[match.end() :]
        if not inside.strip(" \n<!->"):
            if "support" not in match[1]:
                self.note("a part for some programs only (a conditional comment)")
            return
        words = without_tags(_LINK.sub(r" (\1) <", _SETTINGS.sub("", inside)))
        self._leave_out("in a comment that only Outlook reads", words)
        if "<style" in ascii_lower(inside) and not words:
            self.note("styles for Outlook")

    def _pass_over(self, element: Token) -> None:
        name = element.name
        attributes = element.attributes
        kind = ascii_lower(attributes["type"])
        self.odd.update(dict.fromkeys(odd_about(element)))
        self.is_plain &= name in _OF_PAGE
        if name in ("html", "body"):
            style = f"{attributes['style']};{self._page['style']}".strip(";")
            self._page = Values(attributes | self._page, style=style)
        elif name == "area" and attributes["href"]:
            self._leave_out(
                "a link in a picture", f"{attributes['alt']} ({attributes['href']})"
            )
        elif name != "input":
            self._undrawn.append(element)
        elif kind == "checkbox":
            self._on_text(Token("text", "", "☑" if "checked" in attributes else "☐"))
        elif kind != "hidden":
            self.note("a form field")
            self._leave_out(
                "a form field", attributes["value"] or attributes["placeholder"]
            )

    def _leave_out(self, how: str, words: str) -> None:
        if words.strip():
            self._put(len(self.changes))
            self.changes.append(Change(LEFT_OUT, how, words))

    def _open_parts(self, tag: str) -> None:
        """Open the parts of a table that must stand around this tag; "" for text."""
        while self._open and (part := _PART_IN.get(tag_of(self._open[-1].name))):
            if tag == part or (part == "td" and tag == "th"):
                return
            if part == "td":
                self.note("words in a table outside of its cells")
            self._on_start(Token("start", part))

    def _end(self, names: Collection[str], stops: Collection[str]) -> None:
        """End the innermost open element with one of these names, unless it is outside
        of one of `stops`.
        """
        for at in reversed(range(len(self._open))):
            name = self._open[at].name
            if name in names:
                self._end_from(at)
            if name in names or name in stops:
                return

    def _end_from(self, at: int) -> None:
        """End an open element and all that are inside of it."""
        names = [one.name for one in self._open[at:]]
        del self._open[at:]
        for name in reversed(names):
            self.pieces += [*self._signs.get(name, "")[1:], None]
        inner = set(names[1:])
        if inner - _OPTIONAL or (inner and names[0] in _FORMATTING):
            self.note("tags that are closed across each other")


def cleaned(
    written: str, *, values: Mapping[str, re.Pattern[str]], **settings: Any
) -> str:
    """Return HTML as nh3 cleans it with these settings. `values` has patterns by
    attribute: an attribute whose value does not match is left out.
    """

    def checked(tag: str, attribute: str, value: str) -> str | None:
        pattern = values.get(attribute)
        return value if pattern is None or pattern.fullmatch(value) else None

    return nh3.clean(
        written,
        attribute_filter=checked,
        url_relative="deny",
        link_rel=None,
        **settings,
    )
