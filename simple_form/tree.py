"""Reads a message's HTML into a regular tree: its elements with their attributes, its
style sheets, and what is left out of it.

Scripts, frames, forms and everything else that loads or acts is left out here. Each
element that stays is written with its number, the index in `Tree.elements`, as its only
attribute. nh3 then builds the tree that a browser would.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nh3

from simple_form.colours import READABLE, WHITE, attribute_colour, colour_of, contrast
from simple_form.declarations import Declaration, is_harmless
from simple_form.html_reading import (
    FORMATTING,
    Nesting,
    Token,
    Values,
    ascii_lower,
    decode,
    tokens,
)
from simple_form.result import LEFT_OUT, LOOK, Change, TooComplex
from simple_form.style_sheets import StyleSheets

# Limits of the HTML of one message; characters of all style attributes, and characters
# of the words that a change quotes.
MAX_TAGS = 20_000
MAX_TEXT = 2_000_000
MAX_STYLES = 400_000
MOST_PASSAGE = 2_000
TAGS = frozenset(
    "a b blockquote br code dd div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s span strong sub sup table tbody "
    "td th tr u ul".split()
)
# Other tags that keep their name until the tree is built, because a parser has rules
# for them, and those that stand in their place then.
_FOR_PARSERS = {
    **dict.fromkeys(FORMATTING - TAGS, "span"), "strike": "s", "tt": "code", "del": "s", "ins": "u",
}  # fmt: skip
# The tag that is written in place of others. All that are in neither become <span>.
_WRITTEN_AS = {
    name: tag
    for tag, names in {
        "div": "address article aside center details dialog fieldset figcaption figure footer form header hgroup legend "
        "main marquee nav option search section select summary textarea",
        "tbody": "thead tfoot", "td": "caption", "code": "kbd samp",
        "i": "cite dfn var", "ul": "dir menu", "pre": "listing plaintext xmp",
    }.items()
    for name in names.split()
}  # fmt: skip
# Elements that are not drawn, and have no words inside.
_PASSED_OVER = frozenset(
    "area base basefont bgsound body col colgroup embed frame head html iframe input keygen link meta noembed noframes "
    "param script source style title track wbr".split()
)
# Elements that are written, or written otherwise, and look the same in any program.
_SAME = TAGS | frozenset(
    "address article aside body center cite col colgroup dfn figcaption figure font footer head header html ins kbd main "
    "del strike meta nav samp section style tbody thead tfoot title tt var abbr acronym big small mark q time data label "
    "nobr wbr o:p w:sdt u1:p".split()
)
# Attributes that change no words, or are judged where their element is written.
_NO_EFFECT = re.compile(
    r"class|id|style|href|src|alt|title|target|rel|role|lang|name|content|charset|xmlns.*|aria-.*|data-.*|item.*|property"
    r"|cite|wrap|summary|scope|tabindex|color|face|link|vlink|alink|text|clear|loading|decoding|[vo]:.*|xml:.*|spellcheck"
    r"|contenteditable|translate|download|crossorigin|referrerpolicy|cols|dir|type|start|bgcolor|ping|headers|noshade"
    r"|x-apple-.*|apple-.*|override|bordercolor|editing|smartmail|nowrap|reversed|hidden|originalsrc|shash|draggable|srcid|moz-.*|datetime|hreflang|border"
)
_SMALL_NUMBERS = frozenset("cellpadding cellspacing hspace vspace span".split())
# Elements in which `bgcolor` sets a background.
WITH_BACK = frozenset("body table tbody td tfoot th thead tr".split())
_ODD_META = ("color-scheme", "supported-color-schemes", "refresh", "default-style")
_ALIGNED = re.compile("|center|justify|middle|top|absmiddle|baseline|left|right|bottom")
_CONDITIONAL = re.compile(
    r"\[\s{0,20}if\b[^\]]{0,200}\]\s{0,20}>(.*?)(?:<!\s{0,20}\[\s{0,20}endif|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_FOR_OUTLOOK = re.compile(r"\[\s{0,20}(?:if|endif)\b", re.IGNORECASE)
_SETTINGS = re.compile(r"<(xml|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
# The beginning of a part that only some programs read: what follows the comment.
_FOR_OTHERS = re.compile(
    r"!?\s*+\[\s*+if\b(?!\s+!support)[^\]]*+\]\s*+(?:>\s*+(?:<!\s*+(?:--\s*+)?+)?+)?+",
    re.IGNORECASE,
)
_LINKS = re.compile(
    r"<[^<>]{0,500}?\b(?:href|src)\s{0,5}=\s{0,5}[\"']?([^\"'\s<>]+)[^<>]*>"
)
_UNDRAWN_STYLE = re.compile(
    r"(?:(?:display:none|(?:mso-)?width(?:-source|-alt)?:[a-z0-9.]+);?)*+",
    re.IGNORECASE,
)
_ANY_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, eq=False, slots=True)
class Element:
    """A start tag of the message. If `change` is set, it stands for words that were left
    out, and is the index of that change.
    """

    name: str
    attributes: Values
    change: int | None = None


def without_tags(text: str) -> str:
    """Return the text of some HTML, on one line."""
    return " ".join(decode(_ANY_TAG.sub(" ", text)).split())


class Tree:
    """The elements of a message's HTML and its style sheets.

    `html` is the tree that a browser would build, with an element's number (`data-n`)
    in place of its attributes. `changes` has what was left out. Raises TooComplex.
    """

    def __init__(self, source: str) -> None:
        if source.count("<") > MAX_TAGS:
            raise TooComplex(f"it has more than {MAX_TAGS} tags")
        self.elements: list[Element] = []
        self.changes: list[Change] = []
        self.base = ""
        self.page = Values()
        self.sheets = StyleSheets()
        self._nesting = Nesting()
        self._out: list[str] = []
        self._numbers: dict[Any, int] = {}
        # Words of an element that is left out, and how many such elements are open.
        self._left_out: list[str] = []
        self._inert = 0
        # The names, classes and ids of elements that are not drawn.
        self._undrawn: dict[tuple[str, str, str], None] = {}
        self._rows = self._texts = self._styles = 0
        for token in tokens(source):
            getattr(self, f"_on_{token.kind}")(token)
        self._end_inert()
        if any(
            one.name == "display"
            for key in self._undrawn
            for one in self.sheets.of(*key)
        ):
            self.odd("a style that shows what is not drawn")
        if self._nesting.carried or self._nesting.misnested:
            self.odd("tags that are closed across each other")
        self.html = cleaned(
            "".join(self._out),
            tags={*TAGS, *_FOR_PARSERS},
            attributes={"*": {"data-n"}},
        )

    def odd(self, how: str) -> None:
        """Note something that may look different to the recipient."""
        self.changes.append(Change(LOOK, how))

    def _on_start(self, token: Token) -> None:
        attributes = token.decoded()
        self._styles += len(attributes["style"])
        if self._styles > MAX_STYLES:
            raise TooComplex("its styles are too large to read")
        if token.name == "template":
            self._inert += 1
        self._judge(token.name, attributes)
        if self._inert:
            return
        if token.name in _PASSED_OVER:
            self._pass_over(token.name, attributes)
            return
        written = _written_as(token.name)
        if written == "a" and self._nesting.end("a", "a"):
            self._out.append("</a>")
        while part := self._nesting.implied(written):
            self._on_start(Token("start", part, ""))
        if not self._nesting.prepare(token.name, written):
            self.odd(f"<{token.name}> outside of a table")
            return
        # Equal tags get the same number, because parsers treat formatting with equal
        # attributes in a special way.
        key = (token.name, tuple(sorted(attributes.items())))
        if key not in self._numbers:
            self._numbers[key] = len(self.elements)
            self.elements.append(Element(token.name, attributes))
        number = self._numbers[key]
        self._nesting.start(token.name, written, str(number))
        self._out.append(f'<{written} data-n="{number}">')
        if token.name == "q":
            self._out.append("“")

    def _on_end(self, token: Token) -> None:
        if token.name == "template":
            self._inert = max(self._inert - 1, 0)
            self._end_inert()
        elif self._inert:
            return
        elif token.name == "br":
            self._on_start(Token("start", "br", ""))
        elif token.name == "p" and not self._nesting.count["p"]:
            # The standard reads it as an empty paragraph.
            self._on_start(Token("start", "p", ""))
            self._on_end(token)
        elif token.name not in _PASSED_OVER:
            written = _written_as(token.name)
            if self._nesting.end(token.name, written):
                self._out.append(f"{'”' * (token.name == 'q')}</{written}>")

    def _on_text(self, token: Token) -> None:
        self._texts += len(token.data)
        if self._texts > MAX_TEXT:
            raise TooComplex(f"it has more than {MAX_TEXT} characters of text")
        if self._inert:
            self._left_out.append(token.data)
            return
        if not token.data.isspace():
            self._nesting.text()
        self._out.append(html.escape(token.data, quote=False))

    def _on_raw(self, token: Token) -> None:
        if self._inert or token.name in ("script", "title"):
            return
        if token.name == "style":
            self.sheets.read(token.data)
        elif token.name in ("textarea", "xmp"):
            self._on_text(token)
        else:
            self._leave_out(f"inside of <{token.name}>", without_tags(token.data))

    def _on_lost(self, token: Token) -> None:
        self._leave_out(f"inside of {token.name}", without_tags(token.data))
        self.odd(token.name)

    def _on_comment(self, token: Token) -> None:
        is_doctype = ascii_lower(token.data[:8]) == "!doctype"
        is_read = is_doctype or _FOR_OUTLOOK.search(token.data)
        if token.name == "abrupt" or (token.name and not is_read):
            self.odd("a comment that programs read in different ways")
        if _FOR_OTHERS.fullmatch(token.data):
            self.odd("a part for some programs only (a conditional comment)")
        read = "".join(_CONDITIONAL.findall(token.data))
        words = without_tags(_LINKS.sub(r" (\1) ", _SETTINGS.sub("", read)))
        self._leave_out("in a comment that only Outlook reads", words)
        if read and "<style" in ascii_lower(read) and not words:
            self.odd("styles for Outlook")

    # Notes what an attribute or tag could change, unless the writer does.
    def _judge(self, name: str, attributes: Values) -> None:
        if name not in _SAME and not _is_tick(name, attributes):
            self.odd(f"<{name[:40]}>")
        if name in _PASSED_OVER - {"html", "body", "input"}:
            self._undrawn[name, attributes["class"], attributes["id"]] = None
            if not _UNDRAWN_STYLE.fullmatch(
                re.sub("[ \t\n]+", "", attributes["style"])
            ):
                self.odd(f"<{name}> with a style")
        if name == "tfoot" or (name == "thead" and self._rows):
            self.odd(f"<{name}> at another place")
        self._rows = 0 if name == "table" else self._rows + (name in ("tr", "tbody"))
        for attribute, value in attributes.items():
            value = ascii_lower(value.strip(" \t\n\r\f"))
            if "<" in value and attribute in ("alt", "title", "href"):
                self.odd(f"a tag inside of {attribute}")
            if not _is_plain(name, attribute, value):
                self.odd(f"{name} {attribute}={value}"[:80])

    def _pass_over(self, name: str, attributes: Values) -> None:
        if name == "base":
            self.base = self.base or attributes["href"]
            self.odd("other addresses of links (<base>)")
        elif name in ("html", "body"):
            style = ";".join(filter(None, (attributes["style"], self.page["style"])))
            self.page = Values({**attributes, **self.page, "style": style})
        elif name == "area" and attributes["href"]:
            words = f"{attributes['alt']} ({attributes['href']})"
            self._leave_out("a link in a picture", words)
        elif _is_tick(name, attributes):
            self._nesting.text()
            self._out.append("☑" if "checked" in attributes else "☐")
        elif name == "input" and ascii_lower(attributes["type"]) != "hidden":
            self._leave_out(
                "a form field", attributes["value"] or attributes["placeholder"]
            )

    def _end_inert(self) -> None:
        if not self._inert or self._left_out:
            self._leave_out("inside of <template>", "".join(self._left_out))
            self._left_out.clear()

    def _leave_out(self, how: str, words: str) -> None:
        """Note words that are left out, and write their place as an <img>."""
        words = " ".join(words.split())
        if words:
            self.changes.append(Change(LEFT_OUT, how, words[:MOST_PASSAGE]))
            self.elements.append(Element("", Values(), len(self.changes) - 1))
            self._nesting.prepare("img", "img")
            self._out.append(f'<img data-n="{len(self.elements) - 1}">')


def _written_as(name: str) -> str:
    if name in TAGS or name in _FOR_PARSERS:
        return name
    return _WRITTEN_AS.get(name, "span")


def simple_tag(name: str) -> str:
    """Return the tag of the simple form for one of `Tree.html`."""
    return name if name in TAGS else _FOR_PARSERS[name]


def _is_tick(name: str, attributes: Values) -> bool:
    """Whether it is a box of a list of things to do."""
    return name == "input" and ascii_lower(attributes["type"]) == "checkbox"


def _is_plain(name: str, attribute: str, value: str) -> bool:
    """Whether an attribute changes no words, or the writer notes what it changes."""
    digits = re.match("[0-9]{1,6}", value)
    number = int(digits[0]) if digits else None
    if attribute in ("link", "vlink", "alink", "text", "bgcolor", "color"):
        colour = colour_of(attribute_colour(value))
        is_link = attribute.endswith("link")
        if (attribute == "bgcolor" and name not in WITH_BACK) or (
            attribute == "color" and name not in ("font", "hr")
        ):
            return False
        return colour is not None and not (
            is_link and contrast(colour, WHITE) < READABLE
        )
    if attribute == "src":
        return name == "img" and re.match("https?:|cid:|//|data:", value) is not None
    if name == "meta" and attribute in ("name", "http-equiv", "content"):
        return value not in _ODD_META and "utf-7" not in value
    if attribute in (
        "width",
        "height",
        "size",
        "border",
        *_SMALL_NUMBERS,
        "rowspan",
        "colspan",
    ):
        return _is_usual_size(name, attribute, value, number)
    if attribute in ("align", "valign"):
        is_beside = name in ("table", "img", "object") and value in ("left", "right")
        return _ALIGNED.fullmatch(value) is not None and not is_beside
    if attribute == "face":
        return is_harmless(Declaration("font-family", value))
    if attribute == "dir":
        return value in ("ltr", "rtl", "auto", "")
    if name == "input":
        return attribute in ("checked", "disabled", "type", "class", "id")
    if attribute == "type":
        return name in ("style", "script", "blockquote", "ul", "ol", "li", "a")
    if attribute == "value":
        return name == "li"
    return _NO_EFFECT.fullmatch(attribute) is not None


def _is_usual_size(name: str, attribute: str, value: str, number: int | None) -> bool:
    if attribute in ("rowspan", "colspan"):
        return number is not None and 1 <= number <= 30
    if attribute == "width":
        has_width = name in ("table", "td", "th", "img", "col", "hr")
        most = 100 if value.endswith("%") else 800
        return has_width and (number is None or number <= most)
    if attribute == "height":
        most = 600 if name == "img" else 120
        has_height = name in ("table", "td", "th", "tr", "img", "hr")
        return has_height and (value.endswith("%") or number is None or number <= most)
    if attribute == "size" and name == "font":
        return value.lstrip("+") in ("1", "2", "3", "4", "5", "6", "7", "-1")
    return (name == "img" and attribute == "size") or (
        number is not None and number <= 20
    )


def cleaned(
    written: str,
    *,
    values: Mapping[str, re.Pattern[str]] | None = None,
    **settings: Any,
) -> str:
    """Return HTML as nh3 cleans it with these settings. `values` has patterns by
    attribute: an attribute whose value does not match is left out. Raises TooComplex if
    nh3 fails.
    """

    def checked(tag: str, attribute: str, value: str) -> str | None:
        pattern = (values or {}).get(attribute)
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
