"""Reads HTML into a regular tree: which elements it has, how each is styled, and what
is left out of it.

Scripts, frames, forms and whatever loads or acts is left out here and noted. Each
element that stays is written with a number, under which `Tree.elements` has what is
known of it; nh3 then builds the tree that a browser would build.
"""

import html
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import nh3

from simple_form.colours import attribute_colour, colour_of
from simple_form.harmless import (
    ROOT_SIZE,
    Harm,
    attribute_length,
    font_parts,
    harm_of,
    length,
    parts_of,
)
from simple_form.html_reading import (
    FOREIGN,
    HTML_INSIDE,
    RAW,
    VOID,
    Nesting,
    Token,
    Values,
    decode,
    tokens,
)
from simple_form.result import Change, TooComplex
from simple_form.style_sheets import (
    LINK,
    Declaration,
    Rule,
    StyleSheets,
    classes_in,
    declarations_of,
    has_dark_scheme,
    is_of_font_library,
    written_name,
)

MAX_TAGS = 20_000
MAX_TEXT = 2_000_000
MAX_REFERENCES = 200_000
# Rows or columns that one cell has at most.
MOST_SPANNED = 100
# Characters in all style attributes, and values of rules that may hold for one element.
MAX_STYLES = 400_000
MAX_UNSURE = 200
# What keeps its name until the tree is built: it has a meaning of its own to a parser.
_KEPT = frozenset(
    "a abbr address article aside b big blockquote br caption center cite code dd del dfn div dl dt em figcaption "
    "figure font footer h1 h2 h3 h4 h5 h6 header hr i ins kbd li main mark nav ol p pre q s samp section small span "
    "strike strong sub sup table tbody td tfoot th thead time tr tt u ul var applet button fieldset form marquee nobr "
    "object details summary dialog menu dir listing".split()
)
_BLOCKS = frozenset(
    "hgroup search template datalist legend textarea xmp plaintext".split()
)
_PASSED_OVER = frozenset(
    "html head body base link meta script style param source track img image input area title iframe noembed noframes "
    "frame embed bgsound keygen basefont col colgroup wbr".split()
)
# These end a drawing or formula they stand in, by the standard.
_BREAKS_OUT = frozenset(
    "b big blockquote body br center code dd div dl dt em embed font h1 h2 h3 h4 h5 h6 head hr i img li listing menu "
    "meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var".split()
)
# Elements whose words only some recipients see, or elsewhere.
_BY_ITSELF = {
    **dict.fromkeys(
        "datalist rp details slot template select frameset math".split(), "hide it"
    ),
    **dict.fromkeys(
        "object applet video audio canvas meter progress".split(), "hide it"
    ),
    **dict.fromkeys("option optgroup noscript comment xml".split(), "hide it"),
    # New ones, which draw something of their own in its place.
    **dict.fromkeys(
        "geolocation permission fencedframe portal model".split(), "hide it"
    ),
    **dict.fromkeys(("marquee", "legend", "bdo", "rt"), "move it"),
    **dict.fromkeys(("textarea", "plaintext"), "cut it off"),
    # Outlook draws its own kind of drawing ("v:").
    **dict.fromkeys(("dialog", "svg", "v:"), "cover other words"),
}
# What follows may be taken for a part of these.
_REACHING = frozenset("template select frameset math dialog svg v:".split())
_LABELS = ("alt", "title", "aria-label")
_FONT_SIZES = {
    "1": "10px",
    "2": "13px",
    "3": "16px",
    "4": "18px",
    "5": "24px",
    "6": "32px",
    "7": "48px",
}
_LIST_TYPES = {
    "1": "decimal",
    "a": "lower-alpha",
    "A": "upper-alpha",
    "i": "lower-roman",
    "I": "upper-roman",
}
_PAINTED = frozenset("body table thead tbody tfoot tr td th marquee".split())
_MARGINS = {
    **{f"{side}margin": (side,) for side in ("left", "right", "top", "bottom")},
    "marginwidth": ("left", "right"),
    "marginheight": ("top", "bottom"),
}
_FLOATED = frozenset({"table", "object", "iframe", "img"})
_SIDES = ("-top", "-right", "-bottom", "-left")
_CONDITIONAL = re.compile(
    r"\[\s{0,20}if\b[^\]]{0,200}\]\s{0,20}>(.*?)(?:<!\s{0,20}\[\s{0,20}endif|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_NOT_OUTLOOK = re.compile(
    r"\s*\[\s{0,20}if\s{1,20}!\s{0,20}\(?(?:mso|ie|vml)\b", re.IGNORECASE
)
_ANY_TAG = re.compile(r"<[^<>]*>")
# Without one of these, browsers draw a page as those of 1996 did (quirks mode).
_STANDARD = re.compile(
    r"!doctype html ?(?:$|system|public ?.-//w3c//dtd (?:xhtml 1|html 4\.01.*http))"
)
# What a style of a paragraph may have without an effect on a table in it.
_OF_PARAGRAPHS = re.compile(
    r"margin|padding|text-|font|line-height|color$|direction|white-space"
)


Choices = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Styled:
    """How an element is styled.

    `held` is what holds. `unsure` are the values that may hold instead, by name, of
    what is followed. `dark` has the colours of dark mode, where they differ; what else
    dark mode changes is unsure. `harms` are all declarations that could do something to
    words.
    """

    held: Values = field(default_factory=Values)
    unsure: Choices = field(default_factory=dict)
    dark: "Styled | None" = None
    harms: tuple[Harm, ...] = ()
    # Whether a style displays it, where it is not displayed otherwise.
    shows: bool = False

    def all_of(self, name: str) -> tuple[str, ...]:
        """Return the value that holds, if any, and those that may hold instead."""
        return (
            *((self.held[name],) if name in self.held else ()),
            *self.unsure.get(name, ()),
        )

    def largest(
        self, *names: str, size: float = ROOT_SIZE, whole: float | None = None
    ) -> float:
        """Return the largest length in pixels that one of these may have; 0 where none
        has any.
        """
        values = (value for name in names for value in self.all_of(name))
        return max((length(value, size, whole) or 0.0 for value in values), default=0.0)

    def pixels(self, name: str, size: float = ROOT_SIZE) -> float:
        """Return the length that holds, in pixels; 0 where none does."""
        return length(self.held[name], size) or 0.0


@dataclass(frozen=True, slots=True)
class Element:
    """An element of the tree, or a place where something was left out: then `change` is
    its number.
    """

    name: str
    attributes: Values = field(default_factory=Values)
    styled: Styled = Styled()
    labels: tuple[str, ...] = ()
    change: int | None = None
    # The names by which rules for what lies in it know it.
    names: frozenset[str] = frozenset()
    # Whether a comment hides it from Outlook.
    is_for_others: bool = False


@dataclass
class Tree:
    """What was read: the tree with numbers for attributes, its elements, the page's own
    style, and the changes.
    """

    sheets: StyleSheets
    html: str = ""
    elements: list[Element] = field(default_factory=list)
    page: Sequence[Element] = ()
    changes: list[Change] = field(default_factory=list)
    names: frozenset[str] = frozenset()
    base: str = ""
    # Whether it says which standard it is written by: otherwise tables do not inherit
    # colours and sizes.
    is_standard: bool = False
    link_colour: str = ""
    visited_colour: str = ""
    # Whether dark mode changes the colours that nobody sets.
    has_dark_scheme: bool = False
    _styled: dict[tuple[int, frozenset[str]], Element] = field(default_factory=dict)

    def styled(self, number: int, around: frozenset[str]) -> Element:
        """Return an element as it is styled inside of elements with these names."""
        if (number, around) not in self._styled:
            bare = self.elements[number]
            self._styled[number, around] = replace(
                bare, styled=self.style(bare, around)
            )
        return self._styled[number, around]

    def style(self, element: Element, around: frozenset[str] | None) -> Styled:
        """Return how an element is styled inside of elements with these names; None
        where they are not known.
        """
        name = element.name
        attributes = element.attributes
        tag = LINK if name == "a" and "href" in attributes else written_name(name)
        rules = self.sheets.matching(tag, attributes["id"], attributes["class"], around)
        old = [
            Declaration(*one) for one in _old_style(name, attributes).items() if one[1]
        ]
        own = declarations_of(attributes["style"])
        declared = (*old, *own, *(d for rule in rules for d in rule.declared))
        held = _cascaded(
            old, [rule for rule in rules if rule.sure and not rule.dark], own
        )
        if sum(len(rule.declared) for rule in rules if not rule.sure) > MAX_UNSURE:
            raise TooComplex(
                "too many rules of its style sheets may hold for one element"
            )
        unsure = _by_name(rule for rule in rules if not rule.sure and not rule.dark)
        in_dark = _by_name(rule for rule in rules if rule.dark)
        unsure |= {
            n: (*unsure.get(n, ()), *values)
            for n, values in in_dark.items()
            if n not in _COLOURS
        }
        harms = dict.fromkeys(_harms(name, attributes, declared, held, unsure))
        if not self.is_standard and name not in _GROWING | {"html", "body"}:
            high = [
                one
                for one in declared
                if one.name == "height" and one.value.endswith("%")
            ]
            harms |= {
                Harm(f"height: {one.value}", "cut it off", reaches=True): None
                for one in high
            }
        if element.is_for_others:
            harms[Harm("only for others than Outlook", "hide it")] = None
        dark = None
        if in_dark:
            held_in_dark = _cascaded(old, [rule for rule in rules if rule.sure], own)
            dark = Styled(
                held_in_dark, _by_name(rule for rule in rules if not rule.sure)
            )
        return Styled(
            held=held,
            unsure=unsure,
            dark=dark,
            harms=tuple(harms),
            shows=any(
                one.name in ("all", "display") and one.value != "none"
                for one in declared
            ),
        )


def without_tags(text: str) -> str:
    """Return the text of some markup, on one line."""
    return " ".join(decode(_ANY_TAG.sub(" ", text)).split())


def read_tree(source: str) -> Tree:
    """Return the elements of a message's HTML. Raises TooComplex."""
    if source.count("<") > MAX_TAGS:
        raise TooComplex(f"it has more than {MAX_TAGS} tags")
    if source.count("&") > MAX_REFERENCES:
        raise TooComplex(f"it has more than {MAX_REFERENCES} character references")
    found = list(tokens(source))
    if sum(len(one.data) for one in found if one.kind == "text") > MAX_TEXT:
        raise TooComplex(f"it has more than {MAX_TEXT} characters of text")
    if sum(len(one.attributes["style"]) for one in found) > MAX_STYLES:
        raise TooComplex("its styles are too large to read")
    return _Reader(found).read()


class _Reader:
    """Goes through the tokens once for the style sheets, and once to write."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.nesting = Nesting()
        self.out: list[str] = []
        self.numbers: dict[Any, int] = {}
        started = (
            token
            for token in found
            if token.kind == "start" and token.attributes.keys() & {"id", "class"}
        )
        self.tree = Tree(
            StyleSheets(
                name for token in started for name in _names_of(token.decoded())
            )
        )
        self.tree.is_standard = _is_standard(found)
        self.not_in_outlook = False
        self.paragraph: int | None = None
        # Whether the element whose raw text comes next is displayed by a style, as a
        # title or script may be.
        self.is_displayed = False
        self.all_text = ""

    def read(self) -> Tree:
        self.all_text = _folded(
            " ".join(one.data for one in self.tokens if one.kind == "text")
        )
        self._read_sheets()
        for token in self.tokens:
            getattr(self, f"_on_{token.kind}")(token)
        tags = {*_KEPT, "img"}
        allowed = {
            "*": {"data-n"},
            "td": {"colspan", "rowspan"},
            "th": {"colspan", "rowspan"},
        }
        self.tree.html = cleaned(
            "".join(self.out), tags=tags, attributes=allowed, link_rel=None
        )
        return self.tree

    def _read_sheets(self) -> None:
        inside = False
        media = ""
        unread = 0
        sheets: list[tuple[str, str]] = []
        for token in self.tokens:
            if token.name in ("template", "svg", "math") and token.kind in (
                "start",
                "end",
            ):
                unread = max(0, unread + (1 if token.kind == "start" else -1))
            elif token.name == "style" and token.kind in ("start", "end"):
                inside = token.kind == "start"
                attributes = token.decoded()
                # Programs differ in whether they follow these.
                is_odd = (
                    unread
                    or "title" in attributes
                    or attributes["type"].lower() not in ("", "text/css")
                )
                media = "(perhaps)" if is_odd else attributes["media"]
            elif (token.kind == "raw" and token.name == "style") or (
                token.kind == "text" and inside
            ):
                sheets.append((token.data, media))
            elif token.kind == "comment":
                # What only Outlook follows may hold or not.
                parts = " ".join(_conditional_parts(token.data))
                sheets += [
                    (one.data, "(outlook)")
                    for one in _tags_in(parts)
                    if one.kind == "raw" and one.name == "style"
                ]
        self.tree.sheets.read(sheets)
        self.tree.changes += self.tree.sheets.changes
        self.tree.has_dark_scheme = self.tree.sheets.has_dark_scheme
        pages = [self._page_part(name) for name in ("html", "body")]
        self.tree.names = pages[0].names | pages[1].names
        self.tree.page = [
            replace(one, styled=self.tree.style(one, self.tree.names)) for one in pages
        ]

    def _page_part(self, name: str) -> Element:
        """Return the html or body: a later tag of it adds what the first lacks, as in
        browsers.
        """
        merged = Values()
        for token in self.tokens:
            if token.kind == "start" and token.name == name:
                merged = Values({**token.attributes, **merged})
        part = self._element(Token("start", name, "", merged))
        self.tree.link_colour = (
            attribute_colour(part.attributes["link"]) or self.tree.link_colour
        )
        self.tree.visited_colour = attribute_colour(part.attributes["vlink"])
        return part

    def _element(self, token: Token) -> Element:
        attributes = token.decoded()
        own = declarations_of(attributes["style"])
        self.tree.has_dark_scheme = self.tree.has_dark_scheme or has_dark_scheme(own)
        labels = tuple(attributes[one] for one in _LABELS if attributes[one].strip())
        # In lower case, as rules are kept.
        names = (
            frozenset(
                (written_name(token.name), *map(str.lower, _names_of(attributes)))
            )
            & self.tree.sheets.needed
        )
        return Element(
            token.name,
            attributes,
            labels=labels,
            names=names,
            is_for_others=self.not_in_outlook,
        )

    def _number_of(self, token: Token) -> int:
        """Equal elements share a number, so that what the standard takes for equal
        stays equal.
        """
        key = (token.name, tuple(sorted(token.attributes.items())), self.not_in_outlook)
        if key not in self.numbers:
            self.numbers[key] = len(self.tree.elements)
            self.tree.elements.append(self._element(token))
        return self.numbers[key]

    def _on_text(self, token: Token) -> None:
        if _SEPARATORS.search(token.data):
            self._left_out("characters that part lines", "move it", token.data)
        if not token.data.isspace():
            self.nesting.text()
        self.out.append(html.escape(token.data, quote=False))

    def _on_comment(self, token: Token) -> None:
        if _NOT_OUTLOOK.match(token.data) and token.data.rstrip().endswith(
            ("]", "<!", "<!--")
        ):
            # What follows is no comment to others than Outlook.
            self.not_in_outlook = True
            return
        if "endif" in token.data.lower():
            self.not_in_outlook = False
        found = list(_shown(_tags_in(" ".join(_conditional_parts(token.data)))))
        text = " ".join(
            " ".join(one.data for one in found if one.kind in ("text", "lost")).split()
        )
        if text and _folded(text) not in self.all_text:
            targets = [
                one.decoded()["href"]
                for one in found
                if one.name == "a" and "href" in one.attributes
            ]
            passage = " ".join([text, *(f"<{one}>" for one in targets)])
            self._left_out("in a comment that only Outlook reads", "add words", passage)

    def _on_lost(self, token: Token) -> None:
        if text := without_tags(token.data):
            self._left_out(f"inside {token.name}", "hide it", text)

    def _on_raw(self, token: Token) -> None:
        if token.name in ("xmp", "textarea"):
            self._on_text(Token("text", "", token.data))
        elif token.name == "script" and "<!--" in token.data:
            # Another script in its comment would end elsewhere.
            self._left_out("a script with a comment", "add words")
        elif self.is_displayed:
            self._left_out(
                f"words of <{token.name}> that a style displays",
                "add words",
                token.data,
            )
            self.is_displayed = False
        elif token.name in ("noembed", "noframes", "iframe") and (
            text := without_tags(token.data)
        ):
            self._left_out(f"inside <{token.name}>", "hide it", text)

    def _on_end(self, token: Token) -> None:
        if token.name == "br":
            self._on_start(token)
        if token.name in _PASSED_OVER or token.name in VOID:
            return
        written = _written_as(token.name)
        if self.nesting.end(token.name, written):
            self.out.append(f"</{written}>")

    def _on_start(self, token: Token) -> None:
        if token.name in ("img", "image"):
            self.nesting.prepare("img", "img")
            self.out.append(
                f'<img data-n="{self._number_of(token._replace(name="img"))}">'
            )
            return
        if token.name in _PASSED_OVER:
            self._pass_over(token)
            return
        if token.name != "font" or token.attributes.keys() & {"color", "face", "size"}:
            self._break_out(token.name)
        if token.name == "form" and (url := token.decoded()["action"]):
            self._left_out(f"a form that would be sent to {url[:80]}")
        written = _written_as(token.name)
        if written in ("a", "nobr") and self.nesting.end(written, written):
            self.out.append(f"</{written}>")
        while part := self.nesting.implied(written):
            self._on_start(Token("start", part, ""))
        paragraphs = self.nesting.count["p"]
        if not self.nesting.prepare(token.name, written):
            return
        number = self._number_of(token)
        marks = f' data-n="{number}"'
        for span in ("colspan", "rowspan"):
            value = token.attributes[span]
            is_number = value.isascii() and value.isdigit() and len(value) <= 3
            marks += f' {span}="{min(int(value), MOST_SPANNED)}"' if is_number else ""
        self.nesting.start(token.name, written, f"{token.name}{marks}")
        self.out.append(f"<{written}{marks}>")
        if token.name == "p":
            self.paragraph = number
        elif (
            token.name == "table"
            and self.nesting.count["p"] < paragraphs
            and not self.tree.is_standard
        ):
            self._table_in_paragraph()

    def _table_in_paragraph(self) -> None:
        """Note a style of a paragraph that a table closed: in quirks mode the table
        lies in the paragraph.
        """
        styled = (
            self.tree.style(self.tree.elements[self.paragraph], None)
            if self.paragraph is not None
            else Styled()
        )
        is_needed = "p" in self.tree.sheets.needed
        if (
            is_needed
            or styled.harms
            or styled.unsure
            or any(not _OF_PARAGRAPHS.match(one) for one in styled.held)
        ):
            self._left_out("a table in a paragraph with a style", "hide it")

    def _break_out(self, name: str) -> None:
        """End a drawing at an ordinary tag inside it, except where HTML may continue
        inside the drawing.
        """
        if name not in _BREAKS_OUT or not self.nesting.count["span"]:
            return
        for element in reversed(self.nesting.open):
            if element.name in HTML_INSIDE:
                return
            if element.name in FOREIGN:
                self.nesting.end(element.name, "span")
                self.out.append("</span>")
                return

    def _pass_over(self, token: Token) -> None:
        """Leave a tag out, and note what it would have done."""
        name = token.name
        attributes = token.decoded()
        said = Values({one: value.strip().lower() for one, value in attributes.items()})
        styled = self.tree.style(
            Element(name, attributes, is_for_others=self.not_in_outlook), None
        )
        self.is_displayed = name in _NEVER_DRAWN and styled.shows
        if self.is_displayed and name not in RAW:
            self._left_out(f"words of <{name}> that a style displays", "add words")
        if name == "base":
            self.tree.base = self.tree.base or attributes["href"]
        elif name == "link" and "stylesheet" in said["rel"]:
            url = attributes["href"]
            if not is_of_font_library(url):
                self._left_out(f"a style sheet loaded from {url[:80]}", "change it")
        elif name == "basefont" and attributes:
            self._left_out("another font for all words", "hide it")
        elif name == "script":
            self._left_out(f"a script {attributes['src'][:80]}".rstrip())
        elif name == "meta":
            self._pass_over_meta(attributes["content"], said)
        elif name == "area" and "href" in attributes:
            says = next(
                (attributes[one] for one in _LABELS if attributes[one].strip()), ""
            )
            self._on_start(
                Token("start", "a", "", Values(href=token.attributes["href"]))
            )
            self._on_text(Token("text", "", says or "(part of a picture)"))
            self._on_end(Token("end", "a", ""))
        elif name == "input" and attributes["type"].lower() not in ("hidden", "image"):
            value = attributes["value"] or attributes["placeholder"]
            has_words = value.strip() or attributes["type"].lower() in _WITH_WORDS
            is_wide = len(attributes["size"]) > 1
            self._left_out(
                "a form field",
                "add words" if has_words else "move it" if is_wide else "",
                value,
            )
        elif name in ("iframe", "frame", "embed"):
            self._left_out(
                f"an embedded page or object ({attributes.get('src', 'srcdoc')[:80]})",
                "add words",
            )
        elif name == "source" and attributes.get("srcset"):
            self._left_out("another picture for other screens (source)", "change it")
        elif name in ("col", "colgroup"):
            usual = {"width", "text-align", "vertical-align"}
            width = (
                f"{said['width']}px"
                if said["width"].isdecimal()
                else styled.held["width"]
            )
            if (length(width) or 100.0) < 20:
                self._left_out("a narrow column", "cover other words")
            if (
                attributes.keys() - _OF_COLUMNS
                or styled.held.keys() - usual
                or styled.unsure
                or styled.harms
            ):
                self._left_out(f"a style of a whole column (<{name}>)", "hide it")
        if name not in ("html", "body", "col", "colgroup") and name not in _NEVER_DRAWN:
            boxes = [
                one
                for one in styled.held
                if one.startswith(("margin", "padding", "border", "width"))
            ]
            if name not in ("wbr", "img", "image", "area", "hr") and (
                boxes or styled.unsure
            ):
                self._left_out(f"a box of its own (of <{name}>)", "cover other words")
            for harm in styled.harms:
                if harm.reaches:
                    self._left_out(f"{harm.how} (of <{name}>)", harm.does)

    def _pass_over_meta(self, content: str, said: Values) -> None:
        if said["http-equiv"] == "refresh":
            self._left_out(f"a jump to another page ({content[:80]})")
        elif said["http-equiv"] in _SWITCHES:
            self._left_out(f"a switch for styles ({said['http-equiv']})", "hide it")
        elif said["name"] == "viewport" and not all(
            map(_VIEWPORT.fullmatch, re.split("[,; ]+", said["content"]))
        ):
            self._left_out(f"another size of the window ({content[:80]})", "hide it")
        elif said["name"] == "color-scheme":
            schemes = said.get("content", "light")
            if "light" not in schemes:
                self._left_out("a dark colour scheme", "hide it")
            self.tree.has_dark_scheme = self.tree.has_dark_scheme or "dark" in schemes

    def _left_out(self, how: str, does: str = "", passage: str = "") -> None:
        """Note something that is left out here."""
        self.tree.changes.append(Change(how, does, _short(passage)))
        self.tree.elements.append(Element("", change=len(self.tree.changes) - 1))
        self.nesting.prepare("img", "img")
        self.out.append(f'<img data-n="{len(self.tree.elements) - 1}">')


def _is_standard(found: Sequence[Token]) -> bool:
    """Whether a page says at its beginning which standard it is written by."""
    for token in found:
        if token.kind not in ("comment", "text") or (
            token.kind == "text" and not token.data.isspace()
        ):
            return False
        if token.name == "declaration" and token.data.lower().startswith("!doctype"):
            return _STANDARD.match(" ".join(token.data.lower().split())) is not None
    return False


# Fields that say something by themselves.
_WITH_WORDS = frozenset(
    "submit reset button file date time month week datetime-local color".split()
)
_NEVER_DRAWN = frozenset(
    "head base link meta script style param source track title".split()
)
_SEPARATORS = re.compile("[\x1c-\x1f\x85]")
_SWITCHES = frozenset(("content-security-policy", "default-style"))
_VIEWPORT = re.compile(
    r"(?:width=(?:device-width|[3-9][0-9]{2})|(?:initial|maximum|minimum)-scale=(?:0\.[5-9][0-9]*|[1-9](?:\.[0-9]+)?)"
    r"|user-scalable=[a-z0-9]+|shrink-to-fit=[a-z]+|height=device-height|minimal-ui|viewport-fit=[a-z]+|target-.*)?"
)
_OF_COLUMNS = frozenset(("span", "width", "align", "valign", "style", "class", "id"))
_MOST_PASSAGE = 300


def _short(passage: str) -> str:
    return " ".join(passage.split())[:_MOST_PASSAGE]


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _conditional_parts(comment: str) -> list[str]:
    return _CONDITIONAL.findall(comment) if "if" in comment else []


def _tags_in(markup: str) -> list[Token]:
    try:
        return list(tokens(markup)) if markup.strip() else []
    except TooComplex:
        # Its text is noted all the same.
        return []


def _shown(found: Iterable[Token]) -> Iterator[Token]:
    """Yield what Word draws of a conditional comment: not its settings, which are XML."""
    is_settings = False
    for token in found:
        if token.name == "xml":
            is_settings = token.kind == "start"
        elif not is_settings:
            yield token


def _names_of(attributes: Values) -> list[str]:
    """Return the id and the classes of a tag as selectors write them."""
    names = [f".{written_name(one)}" for one in classes_in(attributes["class"])]
    return [*names, f"#{written_name(attributes['id'])}"] if attributes["id"] else names


def _written_as(name: str) -> str:
    return name if name in _KEPT else "div" if name in _BLOCKS else "span"


def cleaned(written: str, **settings: Any) -> str:
    """Return HTML as nh3 writes it with these settings. Raises TooComplex where it
    cannot.
    """
    try:
        return nh3.clean(written, **settings)
    except BaseException as error:
        # A panic in Rust arrives as a BaseException of its own.
        if type(error).__name__ == "PanicException":
            raise TooComplex("it could not be made safe to show") from error
        raise


def _old_style(name: str, attributes: Values) -> dict[str, str]:
    """Return what the attributes that came before CSS say, as CSS."""
    said = Values({one: value.strip().lower() for one, value in attributes.items()})
    style: dict[str, str] = {}
    if "bgcolor" in attributes and name in _PAINTED:
        style["background-color"] = attribute_colour(attributes["bgcolor"])
    if name == "font":
        style["color"] = attribute_colour(attributes["color"])
        style["font-family"] = " ".join(said["face"].split())
        style["font-size"] = _font_size(attributes["size"])
    if name == "body":
        style["color"] = attribute_colour(attributes["text"])
        for attribute, sides in _MARGINS.items():
            if re.fullmatch("[0-9]{1,5}", said[attribute]):
                style |= {f"margin-{side}": f"{said[attribute]}px" for side in sides}
    if said["dir"] in ("rtl", "ltr"):
        style["direction"] = said["dir"]
    align = said["align"]
    if name in _FLOATED and align in ("left", "right"):
        style["float"] = align
    elif name == "table" and align == "center":
        style |= {"margin-left": "auto", "margin-right": "auto"}
    elif align in ("left", "right", "center", "justify"):
        style["text-align"] = align
    if name == "center":
        style["text-align"] = "center"
    if name == "img" and re.fullmatch("[0-9]{1,5}", said["hspace"]):
        style |= {f"margin-{side}": f"{said['hspace']}px" for side in ("left", "right")}
    if said["dir"] == "auto" and name == "table":
        style["direction"] = "rtl"
    if name == "caption" and align in ("bottom", "left", "right"):
        style["caption-side"] = align
    if said["valign"] in ("top", "middle", "bottom", "baseline"):
        style["vertical-align"] = said["valign"]
    for one in ("width", "height"):
        found = re.fullmatch(r"([0-9]{1,5})(%|px)?", attributes[one].strip())
        if found and name in ("td", "th", "table", "tr", "img", "hr"):
            style[one] = f"{found[1]}{found[2] or 'px'}"
    if name in ("ol", "li", "ul"):
        style["list-style-type"] = _LIST_TYPES.get(attributes["type"], "")
    if "nowrap" in attributes or name == "nobr":
        style["white-space"] = "nowrap"
    return style


def _font_size(written: str) -> str:
    """Return the size of `<font size>`: 1 to 7, or so much more or less than 3."""
    found = re.fullmatch(r"\s*([+-]?)([0-9]{1,3}).*", written, re.DOTALL)
    if found is None:
        return ""
    number = int(found[2])
    step = number if not found[1] else 3 + number if found[1] == "+" else 3 - number
    return _FONT_SIZES[str(min(max(step, 1), 7))]


# How far the number of an item may stand before it, in pixels.
_MOST_HANGING = 100.0
_HANGING = frozenset("p div li blockquote dd dt h1 h2 h3 h4 h5 h6".split())
_PARTS_OF_TABLES = frozenset(("td", "th", "tr", "table", "tbody", "thead", "tfoot"))
_GROWING = _PARTS_OF_TABLES | {"img", "hr"}
# With these, a part of a table is none any more, and the cells around it move.
_NO_TABLE = frozenset("inline inline-block flex inline-flex grid inline-grid".split())


def _harms(
    name: str,
    attributes: Values,
    declared: Sequence[Declaration],
    held: Values,
    unsure: Choices,
) -> list[Harm]:
    """Return what the attributes and declarations of an element could do to words, each
    with how it is written.
    """
    found = []
    values = defaultdict(set)
    for one in declared:
        values[one.name].add(one.value)
    beside = ("margin-left", "padding-left")
    inset = (
        0.0
        if any(one in unsure for one in beside)
        else max(length(held[one]) or 0.0 for one in beside)
    )
    for one in declared:
        harm = harm_of(one.name, one.value)
        if harm is None or _is_usual(name, one):
            continue
        indent = (
            length(one.value)
            if one.name == "text-indent" and not one.value.endswith("em")
            else None
        )
        is_box = name in _HANGING and held.get("display", "block") in (
            "block",
            "list-item",
        )
        if indent is not None and is_box and -min(inset, _MOST_HANGING) <= indent < 0:
            # The number of a list stands before its item.
            continue
        found.append(harm)
    kind = "v:" if name.startswith("v:") else name
    is_open = name == "details" and "open" in attributes and "name" not in attributes
    if kind in _BY_ITSELF and not is_open:
        found.append(
            Harm(f"inside <{name}>", _BY_ITSELF[kind], reaches=kind in _REACHING)
        )
    for attribute in ("hidden", "popover", "autofocus"):
        if attribute in attributes:
            found.append(
                Harm(
                    f"{attribute} attribute",
                    "hide it",
                    reaches=attribute == "autofocus",
                )
            )
    if attributes["background"].strip():
        found.append(Harm("a picture behind the words", "hide it"))
    for attribute, most in (("cellspacing", 30), ("cellpadding", 30), ("border", 20)):
        if attribute_length(attributes[attribute]) > most:
            how = f"{attribute}={attributes[attribute][:20]}"
            found.append(Harm(how, "move it", reaches=attribute == "border"))
    if name in ("td", "th") and not all(
        _is_usual(name, Declaration("max-width", one)) for one in values["max-width"]
    ):
        found.append(
            Harm(
                "a cell that is narrower than its words",
                "cover other words",
                reaches=True,
            )
        )
    if name in _PARTS_OF_TABLES and values["display"] & _NO_TABLE:
        found.append(Harm(f"another display of <{name}>", "move it", reaches=True))
    if any(
        one.name.startswith("overflow") and one.value != "visible" for one in declared
    ):
        radius = [length(one.value) for one in declared if one.name.endswith("radius")]
        if any(one is None or one > 16 for one in radius):
            found.append(Harm("round corners that cut off", "cut it off"))
    if "shadowrootmode" in attributes or (name == "object" and "data" in attributes):
        found.append(Harm(f"another content of <{name}>", "change it", reaches=True))
    if name == "html" and not all(
        map(_is_usual_size, values["font"] | values["font-size"])
    ):
        found.append(Harm("another size for all lengths", "move it"))
    if name in ("html", "body") and values["display"] - {"block"}:
        found.append(Harm(f"another display of <{name}>", "move it"))
    is_fixed = "fixed" in values["table-layout"]
    if is_fixed and (name != "table" or "table-layout" in unsure):
        found.append(Harm("table-layout: fixed", "cover other words"))
    if (
        name == "table"
        and is_fixed
        and any(0 < (length(one) or 0.0) < 200 for one in values["width"])
    ):
        found.append(Harm("columns that are narrower than their words", "cut it off"))
    if name == "img" and attributes.get("srcset"):
        found.append(
            Harm(
                "another picture for other screens (srcset)", "change it", reaches=True
            )
        )
    return found


def _is_usual_size(value: str) -> bool:
    size = length(font["size"] if (font := font_parts(value)) else value, whole=16)
    return value == "medium" or (size is not None and 10 <= size <= 20)


def _is_usual(name: str, one: Declaration) -> bool:
    """Whether a size is harmless here: cells grow with what is in them, and a picture
    has no words.
    """
    if name in ("html", "body"):
        return one.name == "height" and one.value == "100%"
    if name not in _GROWING:
        return False
    if one.name in ("height", "min-height"):
        return True
    is_size = one.name in ("width", "max-width", "min-width")
    if name == "table" and one.name == "width":
        pixels = length(one.value, whole=800)
        return pixels is not None and pixels <= 800
    if name in ("img", "hr"):
        if is_size and one.value not in ("auto", "none", "inherit"):
            pixels = length(one.value, whole=800)
            return pixels is not None and 0 <= pixels <= 1200
        is_filter = (
            one.name == "filter"
            and "shadow" not in one.value
            and "url" not in one.value
        )
        return is_size or is_filter or one.name in ("max-height", "float", "display")
    if one.name == "min-width":
        pixels = length(one.value, whole=800)
        return pixels is not None and pixels <= 800
    if one.name == "max-width":
        return one.value.endswith("%") or (length(one.value) or 100) >= 100
    return is_size and (
        one.value.endswith("%")
        or (name != "table" and not re.match(r"1?[0-9]px|0|-", one.value))
    )


def _cascaded(
    old: Sequence[Declaration], rules: Sequence[Rule], own: Sequence[Declaration]
) -> Values:
    """Return what holds of these, as mail programs cascade it."""
    sheet = [one for rule in rules for one in rule.declared]
    ordered = [
        *old,
        *(one for one in sheet if not one.important),
        *(one for one in own if not one.important),
        *(one for one in sheet if one.important),
        *(one for one in own if one.important),
    ]
    held = Values()
    for one in _expanded(ordered):
        if one.value.startswith("-ms-"):
            continue
        held.pop(one.name, None)
        value = _WITHOUT.get((one.name, one.value), one.value)
        if one.name not in (*_COLOURS, "text-align") and value in (
            "inherit",
            "initial",
            "unset",
            "revert",
        ):
            # As if it were not declared.
            continue
        held[one.name] = value
    return held


_COLOURS = frozenset(("color", "background-color"))
_WITHOUT = {
    ("display", "initial"): "inline", ("display", "unset"): "inline", ("font-size", "initial"): "medium",
    ("line-height", "initial"): "normal", ("white-space", "initial"): "normal", ("direction", "initial"): "ltr",
}  # fmt: skip
# What is followed from element to element where it may hold.
_FOLLOWED = re.compile(
    r"color|background-color|font-size|line-height|direction|display|white-space|text-wrap(?:-mode)?|opacity"
    r"|(?:margin|padding|border)-(?:top|right|bottom|left)(?:-width)?|border-(?:[a-z-]+-)?radius"
    r"|(?:min-|max-)?width|overflow(?:-x)?"
    r"|float|table-layout|text-(?:indent|decoration)|letter-spacing"
)


def _by_name(rules: Iterable[Rule]) -> dict[str, tuple[str, ...]]:
    """Return the values of what is followed, by name."""
    found: dict[str, dict[str, None]] = {}
    for one in _expanded(d for rule in rules for d in rule.declared):
        if _FOLLOWED.fullmatch(one.name):
            found.setdefault(one.name, {})[one.value] = None
    return {name: tuple(values) for name, values in found.items()}


def _expanded(declared: Iterable[Declaration]) -> tuple[Declaration, ...]:
    """Return declarations with each shorthand as what it sets."""
    found: list[Declaration] = []
    for one in declared:
        if one.name.startswith("-webkit-") and one.name.endswith(("radius", "opacity")):
            one = one._replace(name=one.name.removeprefix("-webkit-"))
        if one.name == "white-space-collapse" and one.value in (
            "preserve",
            "preserve-breaks",
            "break-spaces",
        ):
            found.append(
                Declaration(
                    "white-space",
                    "pre-line" if one.value == "preserve-breaks" else "pre-wrap",
                )
            )
        elif one.name in ("margin", "padding"):
            found += [
                Declaration(f"{one.name}{side}", value)
                for side, value in _four(one.value)
            ]
        elif one.name == "background":
            found.append(Declaration("background-color", _colour_in(one.value)))
        elif one.name == "font":
            found += _expanded_font(one.value)
        elif one.name == "text-decoration-line":
            found.append(Declaration("text-decoration", one.value))
        elif one.name == "list-style":
            words = [w for w in one.value.split() if w not in ("inside", "outside")]
            found.append(
                Declaration(
                    "list-style-type",
                    (words[0] if words else "disc").replace("-latin", "-alpha"),
                )
            )
        elif one.name == "list-style-type":
            found.append(Declaration(one.name, one.value.replace("-latin", "-alpha")))
        elif one.name in _BORDERS:
            sides = (
                _SIDES if one.name == "border" else (one.name.removeprefix("border"),)
            )
            parts = _border_parts(one.value)
            found += [
                Declaration(f"border{side}-{what}", parts[what])
                for side in sides
                for what in parts
            ]
        elif one.name in ("border-width", "border-style", "border-color"):
            what = one.name.removeprefix("border")
            found += [
                Declaration(f"border{side}{what}", v) for side, v in _four(one.value)
            ]
        else:
            found.append(one)
    return tuple(found)


_BORDERS = frozenset(("border", *(f"border{side}" for side in _SIDES)))
_LINES = frozenset(
    "none hidden solid dotted dashed double groove ridge inset outset".split()
)


def _four(value: str) -> list[tuple[str, str]]:
    """Return one to four values with the sides that they are for."""
    parts = parts_of(value)
    if not 0 < len(parts) <= 4:
        return []
    right = parts[min(1, len(parts) - 1)]
    sides = (
        parts[0],
        right,
        parts[2] if len(parts) > 2 else parts[0],
        parts[3] if len(parts) > 3 else right,
    )
    return list(zip(_SIDES, sides, strict=True))


def _border_parts(value: str) -> dict[str, str]:
    """Return width, style and colour of a border."""
    found = {"width": "medium", "style": "none", "color": "currentcolor"}
    for part in parts_of(value):
        what = (
            "style"
            if part in _LINES
            else "color"
            if colour_of(part) is not None
            else "width"
        )
        found[what] = part
    return found


def _colour_in(background: str) -> str:
    """Return the colour of a background."""
    return next(
        (one for one in parts_of(background) if colour_of(one) is not None),
        "transparent",
    )


def _expanded_font(value: str) -> list[Declaration]:
    if value in ("inherit", "initial", "unset", "revert"):
        names = ("font-style", "font-weight", "font-size", "line-height", "font-family")
        return [Declaration(one, value) for one in names]
    found = font_parts(value)
    if found is None:
        return []
    words = found["style"].split()
    weight = next(
        (w for w in words if w in ("bold", "bolder", "lighter") or w.isdigit()),
        "normal",
    )
    return [
        Declaration(
            "font-style",
            next((w for w in words if w in ("italic", "oblique")), "normal"),
        ),
        Declaration("font-weight", weight),
        Declaration("font-size", found["size"]),
        Declaration("line-height", found["line"] or "normal"),
        Declaration("font-family", found["family"]),
    ]
