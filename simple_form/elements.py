"""Reads a message's HTML into a regular tree: its elements, how each is styled, and
what is left out.

Scripts, frames, forms and everything else that loads or acts is left out here and noted
as a change. Each element that stays is written with its number, the index in
`Tree.elements`, as its only attribute. nh3 then builds the tree that a browser would.
"""

import html
import re
from collections.abc import Mapping
from typing import Any

import nh3

from simple_form.cascade import BARE, Element, styled_inside
from simple_form.colours import attribute_colour
from simple_form.harmless import length
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
    StyleSheets,
    classes_in,
    declarations_of,
    has_dark_scheme,
    is_of_font_library,
    written_name,
)

# Limits of the HTML of one message. References are those such as "&amp;".
MAX_TAGS = 20_000
MAX_TEXT = 2_000_000
MAX_REFERENCES = 200_000
# The most rows or columns that one cell spans.
MOST_SPANNED = 100
# Characters in all style attributes.
MAX_STYLES = 400_000
# Characters of the words that a change quotes.
_MOST_PASSAGE = 300
# Tags that keep their name until the tree is built, because a parser has rules for
# them.
_KEPT = frozenset(
    "a abbr address article aside b big blockquote br caption center cite code dd del dfn div dl dt em figcaption "
    "figure font footer h1 h2 h3 h4 h5 h6 header hr i ins kbd li main mark nav ol p pre q s samp section small span "
    "strike strong sub sup table tbody td tfoot th thead time tr tt u ul var applet button fieldset form marquee nobr "
    "object details summary dialog menu dir listing".split()
)
# Tags that are written as <div>. All others become <span>.
_BLOCKS = frozenset(
    "hgroup search template datalist legend textarea xmp plaintext".split()
)
# Tags that are left out. `_pass_over` notes what they could do.
_PASSED_OVER = frozenset(
    "html head body base link meta script style param source track img image input area title iframe noembed noframes "
    "frame embed bgsound keygen basefont col colgroup wbr".split()
)
# Tags that by the standard end a drawing (svg) or formula (math) in which they stand.
_BREAKS_OUT = frozenset(
    "b big blockquote body br center code dd div dl dt em embed font h1 h2 h3 h4 h5 h6 head hr i img li listing menu "
    "meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var".split()
)
# Attributes with a text for people.
_LABELS = ("alt", "title", "aria-label")
# The inside of `[if mso]>...<![endif]` in a comment, which Outlook reads.
_CONDITIONAL = re.compile(
    r"\[\s{0,20}if\b[^\]]{0,200}\]\s{0,20}>(.*?)(?:<!\s{0,20}\[\s{0,20}endif|\Z)",
    re.IGNORECASE | re.DOTALL,
)
# A whole comment that begins a part for other programs, such as `[if !mso]><!-->` or
# `<![if !mso]>`: what follows it is outside of the comment, and Outlook may skip it.
# Word writes `[if !supportLists]` and the like around lists and empty paragraphs.
_NOT_OUTLOOK = re.compile(
    r"!?\s*+\[\s*+if\b(?!\s+!support)[^\]]*+\]\s*+(?:>\s*+(?:<!\s*+(?:--\s*+)?)?)?",
    re.IGNORECASE,
)
# A comment that ends such a part.
_OUTLOOK_AGAIN = re.compile(r"(?:<!|^!?)\s{0,20}\[\s{0,20}endif", re.IGNORECASE)
_ANY_TAG = re.compile(r"<[^<>]*>")
# Document types. Without one of these, browsers draw a page in quirks mode, as those of
# the nineties did.
_STANDARD = re.compile(
    r"!doctype html ?(?:$|system|public ?.-//w3c//dtd (?:xhtml 1|html 4\.01.*http))"
)
# Properties of a paragraph that have no effect on a table in it.
_OF_PARAGRAPHS = re.compile(
    r"margin|padding|text-|font|line-height|color$|direction|white-space"
)
# Types of <input> in which browsers draw words even without a value.
_WITH_WORDS = frozenset(
    "submit reset button file date time month week datetime-local color".split()
)
# Tags that browsers do not display unless a style says so.
_NEVER_DRAWN = frozenset(
    "head base link meta script style param source track title".split()
)
# Control characters that separate lines in Unicode.
_SEPARATORS = re.compile("[\x1c-\x1f\x85]")
# <meta http-equiv> that changes which styles apply.
_SWITCHES = frozenset(("content-security-policy", "default-style"))
# Harmless settings of <meta name="viewport">.
_VIEWPORT = re.compile(
    r"(?:width=(?:device-width|[3-9][0-9]{2})|(?:initial|maximum|minimum)-scale=(?:0\.[5-9][0-9]*|[1-9](?:\.[0-9]+)?)"
    r"|user-scalable=[a-z0-9]+|shrink-to-fit=[a-z]+|height=device-height|minimal-ui|viewport-fit=[a-z]+|target-.*)?"
)
# Properties that give an element a box with an extent.
_OF_BOXES = re.compile("margin|padding|border|width")
# Harmless attributes of <col>.
_OF_COLUMNS = frozenset(("span", "width", "align", "valign", "style", "class", "id"))


def without_tags(text: str) -> str:
    """Return the text of some HTML, on one line."""
    return " ".join(decode(_ANY_TAG.sub(" ", text)).split())


class Tree:
    """The elements of a message's HTML, the style of its page, and what was left out.

    `html` is the tree that a browser would build, with an element's number (`data-n`)
    in place of its attributes. Reads the tokens once for the style sheets and once to
    write `html`. Raises TooComplex.
    """

    def __init__(self, source: str) -> None:
        if source.count("<") > MAX_TAGS:
            raise TooComplex(f"it has more than {MAX_TAGS} tags")
        if source.count("&") > MAX_REFERENCES:
            raise TooComplex(f"it has more than {MAX_REFERENCES} character references")
        self._tokens = list(tokens(source))
        texts = [one.data for one in self._tokens if one.kind == "text"]
        if sum(map(len, texts)) > MAX_TEXT:
            raise TooComplex(f"it has more than {MAX_TEXT} characters of text")
        if sum(len(one.attributes["style"]) for one in self._tokens) > MAX_STYLES:
            raise TooComplex("its styles are too large to read")
        started = (
            token
            for token in self._tokens
            if token.kind == "start" and token.attributes.keys() & {"id", "class"}
        )
        self.sheets = StyleSheets(
            name for token in started for name in _names_of(token.decoded())
        )
        # The document type, which counts only before the first tag.
        for token in self._tokens:
            is_blank = token.kind == "text" and token.data.isspace()
            if token.kind != "comment" and not is_blank:
                break
            said = " ".join(token.data.lower().split())
            if token.name == "declaration" and said.startswith("!doctype"):
                self.sheets.is_standard = _STANDARD.match(said) is not None
                break
        self.elements: list[Element] = []
        self.base = ""
        self.link_colour = ""
        self.visited_colour = ""
        self._nesting = Nesting()
        self._out: list[str] = []
        self._numbers: dict[Any, int] = {}
        self._styled: dict[tuple[int, frozenset[str]], Element] = {}
        self._not_in_outlook = False
        # The number of the <p> that began last.
        self._paragraph = 0
        # Whether a style displays the element whose raw text comes next, such as a
        # title or script.
        self._is_displayed = False
        self._read_sheets()
        self.changes = [*self.sheets.changes]
        self._read_page()
        for token in self._tokens:
            getattr(self, f"_on_{token.kind}")(token)
        allowed = {
            "*": {"data-n"},
            "td": {"colspan", "rowspan"},
            "th": {"colspan", "rowspan"},
        }
        self.html = cleaned(
            "".join(self._out), tags={*_KEPT, "img"}, attributes=allowed
        )

    def styled(self, number: int, around: frozenset[str]) -> Element:
        """Return an element, styled inside elements with these tags, classes, ids."""
        if (number, around) not in self._styled:
            styled = styled_inside(self.elements[number], around, self.sheets)
            self._styled[number, around] = styled
        return self._styled[number, around]

    # Collects the style sheets of the message, and has them read.
    def _read_sheets(self) -> None:
        in_style = False
        media = ""
        foreign_depth = 0
        sheets: list[tuple[str, str]] = []
        for token in self._tokens:
            is_tag = token.kind in ("start", "end")
            if is_tag and token.name in ("template", "svg", "math"):
                foreign_depth = max(
                    0, foreign_depth + (1 if token.kind == "start" else -1)
                )
            elif is_tag and token.name == "style":
                in_style = token.kind == "start"
                attributes = token.decoded()
                # Mail programs differ in whether they apply such a style sheet.
                is_odd = (
                    foreign_depth
                    or "title" in attributes
                    or attributes["type"].lower() not in ("", "text/css")
                )
                media = "(perhaps)" if is_odd else attributes["media"]
            elif (token.kind == "raw" and token.name == "style") or (
                token.kind == "text" and in_style
            ):
                sheets.append((token.data, media))
            elif token.kind == "comment":
                # Outlook alone applies these: so they may apply or not.
                sheets += [
                    (one.data, "(outlook)")
                    for one in _tokens_for_outlook(token.data)
                    if one.kind == "raw" and one.name == "style"
                ]
        self.sheets.read(sheets)

    def _read_page(self) -> None:
        """Read the attributes and styles of <html> and <body>. As in browsers, a second
        such tag adds the attributes that the first lacks.
        """
        parts = []
        for name in ("html", "body"):
            merged = Values()
            for token in self._tokens:
                if token.kind == "start" and token.name == name:
                    merged = Values({**token.attributes, **merged})
            part = self._element(Token("start", name, "", merged))
            link = attribute_colour(part.attributes["link"])
            self.link_colour = link or self.link_colour
            self.visited_colour = attribute_colour(part.attributes["vlink"])
            parts.append(part)
        self.names = parts[0].names | parts[1].names
        self.page = [styled_inside(one, self.names, self.sheets) for one in parts]

    # Returns the element of a start tag, without its style.
    def _element(self, token: Token) -> Element:
        attributes = token.decoded()
        own = declarations_of(attributes["style"])
        self.sheets.has_dark_scheme |= has_dark_scheme(own)
        labels = tuple(attributes[one] for one in _LABELS if attributes[one].strip())
        # In lower case, as in the rules.
        names = (
            frozenset(
                (written_name(token.name), *map(str.lower, _names_of(attributes)))
            )
            & self.sheets.needed
        )
        return Element(
            token.name,
            attributes,
            labels=labels,
            names=names,
            is_for_others=self._not_in_outlook,
        )

    def _number_of(self, token: Token) -> int:
        """Return the number of an element. Equal tags get the same number, because
        parsers treat formatting with equal attributes in a special way.
        """
        key = (
            token.name,
            tuple(sorted(token.attributes.items())),
            self._not_in_outlook,
        )
        if key not in self._numbers:
            self._numbers[key] = len(self.elements)
            self.elements.append(self._element(token))
        return self._numbers[key]

    def _on_text(self, token: Token) -> None:
        if _SEPARATORS.search(token.data):
            self._note_left_out("characters that part lines", "move it", token.data)
        if not token.data.isspace():
            self._nesting.text()
        text = html.escape(token.data, quote=False)
        if self._not_in_outlook and not token.data.isspace():
            # In an element of its own, so that it is marked like the elements there.
            number = self._number_of(Token("start", BARE, ""))
            text = f'<span data-n="{number}">{text}</span>'
        self._out.append(text)

    # Notes words and links that only Outlook reads.
    def _on_comment(self, token: Token) -> None:
        if _NOT_OUTLOOK.fullmatch(token.data):
            # Programs other than Outlook read what follows.
            self._not_in_outlook = True
            return
        if _OUTLOOK_AGAIN.search(token.data):
            self._not_in_outlook = False
        words: list[str] = []
        # Where settings for Word begin. They are XML, and are not displayed.
        settings: int | None = None
        for part in _tokens_for_outlook(token.data):
            if part.name == "xml" and part.kind == "start":
                settings = len(words)
            elif part.name == "xml" and settings is not None:
                del words[settings:]
                settings = None
            elif part.kind in ("text", "lost") or part.name in ("xmp", "textarea"):
                words += part.data.split()
            elif part.kind == "start" and part.name == "img":
                words.append(f"(picture {part.decoded()['src'][:80]})")
            elif part.name.startswith(("a", "v:")) and "href" in part.attributes:
                words.append(f"<{part.decoded()['href']}>")
        if words:
            self._note_left_out(
                "in a comment that only Outlook reads", "add words", " ".join(words)
            )

    def _on_lost(self, token: Token) -> None:
        if text := without_tags(token.data):
            self._note_left_out(f"inside {token.name}", "hide it", text)

    # Keeps the text of xmp and textarea. Notes other raw text that may be read.
    def _on_raw(self, token: Token) -> None:
        if token.name in ("xmp", "textarea"):
            self._on_text(Token("text", "", token.data))
        elif token.name == "script" and "<!--" in token.data:
            # With "<script" in such a comment, the script would end elsewhere.
            self._note_left_out("a script with a comment", "add words")
        elif self._is_displayed:
            self._note_left_out(
                f"words of <{token.name}> that a style displays",
                "add words",
                token.data,
            )
            self._is_displayed = False
        elif token.name in ("noembed", "noframes", "iframe") and (
            text := without_tags(token.data)
        ):
            self._note_left_out(f"inside <{token.name}>", "hide it", text)

    def _on_end(self, token: Token) -> None:
        if token.name == "br":
            self._on_start(token)
        if token.name in _PASSED_OVER or token.name in VOID:
            return
        written = _written_as(token.name)
        if self._nesting.end(token.name, written):
            self._out.append(f"</{written}>")

    # Writes a start tag, after the end tags and table parts that it implies.
    def _on_start(self, token: Token) -> None:
        is_button = token.name == "input" and token.decoded()["type"].lower() == "image"
        if token.name in ("img", "image") or is_button:
            self._nesting.prepare("img", "img")
            self._out.append(
                f'<img data-n="{self._number_of(token._replace(name="img"))}">'
            )
            return
        if token.name in _PASSED_OVER:
            self._pass_over(token)
            return
        if token.name != "font" or token.attributes.keys() & {"color", "face", "size"}:
            self._break_out(token.name)
        if token.name == "form" and (url := token.decoded()["action"]):
            self._note_left_out(f"a form that would be sent to {url[:80]}")
        written = _written_as(token.name)
        if written in ("a", "nobr") and self._nesting.end(written, written):
            self._out.append(f"</{written}>")
        while part := self._nesting.implied(written):
            self._on_start(Token("start", part, ""))
        paragraphs = self._nesting.count["p"]
        if not self._nesting.prepare(token.name, written):
            return
        number = self._number_of(token)
        marks = f' data-n="{number}"'
        for span in ("colspan", "rowspan"):
            if re.fullmatch("[0-9]{1,3}", value := token.attributes[span]):
                marks += f' {span}="{min(int(value), MOST_SPANNED)}"'
        self._nesting.start(token.name, written, f"{token.name}{marks}")
        self._out.append(f"<{written}{marks}>")
        if token.name == "p":
            self._paragraph = number
        elif (
            token.name == "table"
            and self._nesting.count["p"] < paragraphs
            and not self.sheets.is_standard
        ):
            # In quirks mode the table lies in the paragraph that it closed.
            styled = styled_inside(self.elements[self._paragraph], None, self.sheets)
            if (
                "p" in self.sheets.needed
                or styled.harms
                or styled.unsure
                or any(not _OF_PARAGRAPHS.match(one) for one in styled.held)
            ):
                self._note_left_out("a table in a paragraph with a style", "hide it")

    def _break_out(self, name: str) -> None:
        """End the drawing or formula around a tag that ends it, unless HTML may stand
        inside of it there.
        """
        if name not in _BREAKS_OUT or not self._nesting.count["span"]:
            return
        for element in reversed(self._nesting.open):
            if element.name in HTML_INSIDE:
                return
            if element.name in FOREIGN:
                self._nesting.end(element.name, "span")
                self._out.append("</span>")
                return

    def _pass_over(self, token: Token) -> None:
        """Leave a tag out, and note what it could do to words."""
        name = token.name
        attributes = token.decoded()
        said = Values({one: value.strip().lower() for one, value in attributes.items()})
        element = Element(name, attributes, is_for_others=self._not_in_outlook)
        styled = styled_inside(element, None, self.sheets)
        self._is_displayed = name in _NEVER_DRAWN and styled.shows
        if self._is_displayed and name not in RAW:
            self._note_left_out(f"words of <{name}> that a style displays", "add words")
        if name == "base":
            self.base = self.base or attributes["href"]
        elif name == "link" and "stylesheet" in said["rel"]:
            url = attributes["href"]
            if not is_of_font_library(url):
                self._note_left_out(
                    f"a style sheet loaded from {url[:80]}", "change it"
                )
        elif name == "basefont" and attributes:
            self._note_left_out("another font for all words", "hide it")
        elif name == "script":
            self._note_left_out(f"a script {attributes['src'][:80]}".rstrip())
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
            does = "add words" if has_words else "move it" if is_wide else ""
            self._note_left_out("a form field", does, value)
        elif name in ("iframe", "frame", "embed"):
            url = attributes.get("src", "srcdoc")[:80]
            self._note_left_out(f"an embedded page or object ({url})", "add words")
        elif name == "source" and attributes.get("srcset"):
            self._note_left_out(
                "another picture for other screens (source)", "change it"
            )
        elif name in ("col", "colgroup"):
            usual = {"width", "text-align", "vertical-align"}
            width = (
                f"{said['width']}px"
                if said["width"].isdecimal()
                else styled.held["width"]
            )
            if (length(width) or 100.0) < 20:
                self._note_left_out("a narrow column", "cover other words")
            if (
                attributes.keys() - _OF_COLUMNS
                or styled.held.keys() - usual
                or styled.unsure
                or styled.harms
            ):
                self._note_left_out(f"a style of a whole column (<{name}>)", "hide it")
        if name not in _NEVER_DRAWN | {"html", "body", "col", "colgroup"}:
            if name not in ("wbr", "area") and (
                styled.unsure or any(map(_OF_BOXES.match, styled.held))
            ):
                self._note_left_out(
                    f"a box of its own (of <{name}>)", "cover other words"
                )
            for harm in styled.harms:
                if harm.reaches:
                    self._note_left_out(f"{harm.how} (of <{name}>)", harm.does)

    # Notes what a <meta> could do: jump to another page, or change styles or sizes.
    def _pass_over_meta(self, content: str, said: Values) -> None:
        if said["http-equiv"] == "refresh":
            self._note_left_out(f"a jump to another page ({content[:80]})")
        elif said["http-equiv"] in _SWITCHES:
            self._note_left_out(
                f"a switch for styles ({said['http-equiv']})", "hide it"
            )
        elif said["name"] == "viewport" and not all(
            map(_VIEWPORT.fullmatch, re.split("[,; ]+", said["content"]))
        ):
            self._note_left_out(
                f"another size of the window ({content[:80]})", "hide it"
            )
        elif said["name"] == "color-scheme":
            schemes = said.get("content", "light")
            if "light" not in schemes:
                self._note_left_out("a dark colour scheme", "hide it")
            self.sheets.has_dark_scheme |= "dark" in schemes

    def _note_left_out(self, how: str, does: str = "", passage: str = "") -> None:
        """Note a change, and write its place in the HTML as an <img> with a number."""
        passage = " ".join(passage.split())[:_MOST_PASSAGE]
        self.changes.append(Change(how, does, passage))
        self.elements.append(Element("", change=len(self.changes) - 1))
        self._nesting.prepare("img", "img")
        self._out.append(f'<img data-n="{len(self.elements) - 1}">')


def _tokens_for_outlook(comment: str) -> list[Token]:
    """Return the tokens in the parts of a comment that Outlook reads. Raises TooComplex
    if a tag there has too many attributes.
    """
    if "if" not in comment.lower():
        return []
    return list(tokens(" ".join(_CONDITIONAL.findall(comment))))


def _names_of(attributes: Values) -> list[str]:
    """Return the classes and the id of a tag as selectors write them."""
    names = [f".{written_name(one)}" for one in classes_in(attributes["class"])]
    return [*names, f"#{written_name(attributes['id'])}"] if attributes["id"] else names


def _written_as(name: str) -> str:
    return name if name in _KEPT else "div" if name in _BLOCKS else "span"


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
