"""Turns any HTML into its simple form: few elements, and styles that cannot hide,
cover, cut off, move or add words.

What may be written is a short list. Style sheets, positions, floats and sizes that cut
off are not in it. Words that an element hides are removed and named, so that nobody
reads words that others do not see. A simple form is its own simple form.
"""

import html
import re
from dataclasses import dataclass
from unicodedata import bidirectional
from urllib.parse import urljoin

from simple_form.colours import BLACK, READABLE, attribute_colour, contrast
from simple_form.declarations import (
    Declaration,
    declarations_of,
    held_by,
    is_harmless,
    is_judged_inside,
    pixels,
)
from simple_form.html_reading import VOID, Values, ascii_lower, pieces_of
from simple_form.result import (
    COLOURS,
    HIDDEN,
    LEFT_OUT,
    LOOK,
    PREHEADER,
    Change,
    SimpleForm,
    TooComplex,
)
from simple_form.styles import (
    BLOCKS,
    BULLETS,
    INDENTS,
    LETTERED,
    MOST_RAISED,
    MOST_SPREAD,
    MOST_STRUCK,
    TOO_WIDE,
    Look,
    Region,
    look_inside,
    number_style,
    style_of,
)
from simple_form.tree import (
    MOST_PASSAGE,
    TAGS,
    WITH_BACK,
    Element,
    Tree,
    cleaned,
    simple_tag,
)

# Limits of one message: changes, characters of all that is written in addition to three
# times its size, characters of a preheader, lines without words before which something
# is far away, and characters of a line that does not break.
MOST_NAMED = 200
MOST_WRITTEN = 300_000
MOST_PREHEADER = 400
MOST_EMPTY_LINES = 60
MOST_ON_ONE_LINE = 60
MOST_IN_PRE = 110
# Line breaks in a row that are written, and blanks at which no line breaks.
_MOST_BREAKS = 10
_BLANKS = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000\u2800]{20,}+")
_LINES = re.compile("\n(?:[ \t]*+\n){10,}+")
_LONG_WORD = re.compile(r"[^\s<>&\u00ad\u200b-]{30,}+")
# Characters that reverse the direction of writing, spell hidden text, or annotate it.
# They are left out; a flag may be written in tag characters.
_REVERSING = re.compile(
    "[\u202a-\u202e\u2066-\u2069\u206a-\u206f\ufff9-\ufffb]+|(?<![\U0001f3f4\U000e0000-\U000e0fff])[\U000e0000-\U000e0fff]+"
)
_UNSEEN = re.compile(
    "[\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]+"
)
_RTL = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_RTL_MARKS = re.compile("[\u200e\u200f\u061c]")
_SURROGATES = re.compile("[\ud800-\udfff]")
SCHEMES = frozenset(
    "http https mailto tel sms callto skype facetime facetime-audio whatsapp".split()
)
_SCHEME = re.compile("[a-z][a-z0-9+.-]*(?=:)", re.IGNORECASE)
_PICTURES = re.compile(
    r"https?:|cid:|data:image/(?:png|jpe?g|gif);base64,", re.IGNORECASE
)
_FONT_SIZES = {
    "1": "10px",
    "2": "13px",
    "3": "16px",
    "4": "18px",
    "5": "24px",
    "6": "32px",
    "7": "48px",
}
_NO_TAGS = str.maketrans("<>", "‹›")
# The letters that Word's bullets are in a font of symbols.
_BULLET_LETTERS = "·§Øü¨ðàè\uf0b7\uf0a7\uf0d8\uf0fc"
# What help desks hide in their mail, so that they find the answers to it.
_REFERENCE = re.compile(
    r"(?:Message ID: )?[<\[](?=[^<>\[\]]*[0-9])[\w.+/@=-]{6,300}[>\]]"
)
_NUMBER = re.compile("[0-9]{1,6}")
_OWN_NUMBER = re.compile(r"[ \t\n\f\r]*([+-]?[0-9]{1,6})(?![0-9])")
# The last number that is written in letters, so that numbers spell no words.
_MOST_LETTERED = 26
# The attributes of the simple form by tag, and patterns for their values. An attribute
# without a pattern may have any value.
ATTRIBUTES = {
    "*": {"style", "dir"}, "a": {"href"}, "img": {"src", "alt", "width", "height"}, "li": {"value"},
    "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}, "table": {"cellpadding", "cellspacing", "border"},
}  # fmt: skip
VALUES = {
    "style": re.compile(r"(?:[a-z-]++:[a-zA-Z0-9#%., \-']++;)++"),
    "dir": re.compile("auto"),
    **dict.fromkeys(
        "colspan rowspan width height cellpadding cellspacing border".split(), _NUMBER
    ),
    "value": re.compile("-?[0-9]{1,7}"),
}
WRAPS = "overflow-wrap:break-word;"


def simplify(source: str) -> SimpleForm:
    """Return the simple form of a message's HTML. Raises TooComplex."""
    try:
        tree = Tree(_SURROGATES.sub("\ufffd", source))
        writer = _Writer(tree, 3 * len(source) + MOST_WRITTEN)
        writer.write()
    except RecursionError as error:
        raise TooComplex("its styles are nested too deeply") from error
    written = marked = "".join(writer.out)
    for pattern in writer.left_out:
        written = pattern.sub(" " if pattern in (_BLANKS, _CONTROLS) else "", written)
    clean = cleaned(
        written,
        tags=set(TAGS),
        attributes=ATTRIBUTES,
        values=VALUES,
        url_schemes=SCHEMES | {"cid", "data"},
    )
    return SimpleForm(clean, marked, writer.all_changes())


@dataclass(slots=True)
class _Open:
    """An open element: the tag that is written, empty if none is, and its look.

    Of a list, `items` has for each item the place of its tag in the output, its own
    number, and whether it is numbered at all.
    """

    tag: str
    look: Look
    items: list[tuple[int, int | None, bool]] | None = None
    first: int | None = None
    step: int = 1
    # What its direction depends on: the place of its tag in the output, and whether it
    # is to be written from right to left.
    direction: tuple[int, bool] | None = None
    is_rtl: bool | None = None
    has_words: bool = False
    is_lettered: bool = False


class _Writer:
    """Writes the simple form of a tree: `write` fills `out` with marked HTML."""

    def __init__(self, tree: Tree, most: int) -> None:
        self.tree = tree
        self.out: list[str] = []
        self.regions: list[Region] = []
        self._changes = tree.changes
        self._look = Look()
        self._stack: list[_Open] = []
        self._left = most
        self._has_words = False
        self._page_ink = BLACK
        self._line = 0
        self._breaks = 0
        self._empty_lines = 0.0
        self._has_rtl = _RTL.search(tree.html) is not None
        # Characters that are left out, which the desk marks, and what they are.
        self.left_out = {
            _CONTROLS: "control characters",
            _REVERSING: "characters that reverse or hide text",
            _BLANKS: "very many blanks",
        }
        if not self._has_rtl:
            self.left_out[_RTL_MARKS] = "marks of words from right to left"
        # Cells that span both rows and columns could lie over each other.
        spans = [one.attributes for one in tree.elements]
        self._spans = "colspan"
        if not any(one["colspan"] for one in spans):
            self._spans = "rowspan"
        elif any(one["rowspan"] for one in spans):
            self._odd("cells that span rows")

    def write(self) -> None:
        """Write the whole form, in one element that breaks long words."""
        pieces = list(pieces_of(self.tree.html))
        page = Element("body", self.tree.page)
        if _is_wrapped(pieces, self.tree.elements):
            # The page may have a style of its own only outside of this element.
            if not page.attributes["style"]:
                page = self.tree.elements[int(pieces[0].attributes["data-n"])]
                del pieces[0], pieces[-1]
        self._open("div", page, WRAPS)
        for piece in pieces:
            if piece.kind == "text":
                self._text(piece.data)
            elif piece.kind == "end":
                self._close()
            else:
                element = self.tree.elements[int(piece.attributes["data-n"] or 0)]
                self._start(simple_tag(piece.name), element)
        self._close()

    def all_changes(self) -> tuple[Change, ...]:
        """Return what was changed, each kind of look once."""
        changes = self._changes
        for region in self.regions:
            words = " ".join(_UNSEEN.sub(" ", "".join(region.words)).split())
            code = HIDDEN if region.is_removed else COLOURS
            if _REFERENCE.fullmatch(words):
                code = LEFT_OUT
            if region.is_removed and region.is_first and len(words) <= MOST_PREHEADER:
                code = PREHEADER
            changes[region.change] = Change(code, region.how, words[:MOST_PASSAGE])
        odd = dict.fromkeys(self.tree.sheets.odd)
        return (*changes, *(Change(LOOK, how) for how in odd))

    def _odd(self, how: str) -> None:
        if len(self._changes) < MOST_NAMED:
            self.tree.odd(how)

    def _write(self, text: str) -> None:
        self._left -= len(text)
        if self._left < 0:
            raise TooComplex("its simple form would be too large")
        self.out.append(text)

    def _start(self, written: str, element: Element) -> None:
        if element.change is not None:
            self._write(f'<ins data-change="{element.change}"></ins>')
        elif self._look.region and self._look.region.is_removed:
            if written not in VOID:
                self._stack.append(_Open("", self._look))
        elif written == "img":
            self._picture(element)
        elif written in VOID:
            self._empty_lines += 1
            self._line = 0
            self._breaks += 1
            if self._breaks <= _MOST_BREAKS and not self._is_far():
                self._write(f"<{written}>")
            self._judge(element, self._styles(element)[0])
        else:
            self._open(written, element)

    # Returns what an element's styles set, and what its own style does.
    def _styles(self, element: Element) -> tuple[Values, Values]:
        attributes = element.attributes
        name = element.name
        own = declarations_of(attributes["style"])
        key = "a:link" if name == "a" and "href" in attributes else name
        sheets = self.tree.sheets.of(key, attributes["class"], attributes["id"])
        held = held_by((*_by_attributes(name, attributes), *sheets, *own))
        return held, held_by(own)

    # Notes each declaration that may change words and is not written.
    def _judge(self, element: Element, held: Values) -> None:
        for one in declarations_of(element.attributes["style"]):
            is_hiding = one.name == "visibility"
            if not (
                is_hiding
                or is_judged_inside(one)
                or is_harmless(one, element.name, held)
            ):
                self._odd(f"{one.name}: {one.value}"[:80])

    # Opens an element: writes its tag with style, unless its words are removed.
    def _open(self, written: str, element: Element, style: str = "") -> None:
        above = self._look
        attributes = element.attributes
        held, inline = self._styles(element)
        target = self._target(attributes["href"]) if written == "a" else ""
        tag = self._tag(written, held, above, target)
        look = look_inside(
            tag, element.name, held, above, is_first=not self._has_words, inline=inline
        )
        how = _hides(held, attributes)
        if not self._stack:
            # Of a page that is hidden, everything is shown.
            if how or look.tiny:
                self._odd("a page that is hidden")
            look.tiny, how = None, ""
        if how and look.region is None:
            by_itself = bool(_hides(inline, attributes))
            look.region = Region(
                how, by_itself or not self._has_words, not self._has_words
            )
        if held["visibility"] == "visible":
            look.invisible = None
        if how.startswith("visibility") and look.region is not above.region:
            # Elements inside of it may be visible again.
            look.invisible, look.region = look.region, above.region
        opened = _Open(tag, look)
        self._look = look
        self._stack.append(opened)
        if look.region and look.region.is_removed:
            opened.tag = ""
            return
        self._judge(element, held)
        if tag in BLOCKS:
            self._line = 0
            sides = ("padding-top", "padding-bottom", "margin-top")
            lengths = [pixels(held[side]) or 0 for side in sides]
            self._empty_lines += max(0, min(sum(lengths), 400)) / 20
        is_long = tag in ("td", "th") and attributes["rowspan"] != ""
        style += style_of(
            tag, held, look, above, is_restated=is_long, is_low=self._is_far()
        )
        if look.spread > TOO_WIDE:
            self._odd("boxes in each other that take all the width")
        if (
            tag == "table"
            and not held["color"]
            and contrast(self._page_ink, look.back) < READABLE
        ):
            self._odd("colours of a table")
        if element.attributes is self.tree.page:
            self._page_ink = look.ink
        if attributes["align"] == "center" or element.name == "center":
            look.is_centred = True
        written_attributes = self._attributes(tag, attributes, above)
        if tag in ("ol", "ul"):
            self._begin_list(opened, attributes, held)
        elif tag == "li":
            self._begin_item(held, attributes)
        if labels := [
            attributes[one]
            for one in ("title", "aria-label")
            if attributes[one].strip()
        ]:
            written_attributes += f' data-labels="{html.escape(chr(31).join(labels))}"'
        direction = ascii_lower(attributes["dir"].strip(" \t\n\r\f"))
        is_rtl = direction == "rtl" or held["direction"] == "rtl"
        if is_rtl or direction == "auto":
            opened.direction = (len(self.out), is_rtl)
        href = f' href="{html.escape(target)}"' if target else ""
        styled = f' style="{style}"' if style else ""
        self._write(f"<{tag}{href}{written_attributes}{styled}>")

    def _close(self) -> None:
        opened = self._stack.pop()
        if opened.items:
            self._end_list(opened)
        self._look = self._stack[-1].look if self._stack else Look()
        if opened.direction:
            place, is_rtl = opened.direction
            if is_rtl and opened.has_words and not opened.is_rtl:
                self._odd("words from right to left")
            elif self._has_rtl:
                self.out[place] = f'{self.out[place][:-1]} dir="auto">'
        if self._stack:
            around = self._stack[-1]
            around.has_words = around.has_words or opened.has_words
            if around.is_rtl is None:
                around.is_rtl = opened.is_rtl
        if opened.tag:
            self._write(f"</{opened.tag}>")

    # Whether so much room without words came that no more is written.
    def _is_far(self) -> bool:
        return self._has_words and self._empty_lines > MOST_EMPTY_LINES / 2

    def _text(self, text: str) -> None:
        look = self._look
        is_seen = _UNSEEN.sub("", text) != ""
        if not is_seen and text.strip(" \t\n\r\f"):
            # A line with a blank that keeps it open.
            self._empty_lines += 2
            if self._is_far():
                return
        region = look.hiding() if is_seen else look.region
        if is_seen and not (region and region.is_removed):
            self._judge_text(text, look)
        for pattern, how in self.left_out.items():
            if pattern.search(text):
                self._odd(how)
        if look.keeps_blanks and _LINES.search(text):
            self._odd("very many empty lines")
            text = _LINES.sub("\n" * _MOST_BREAKS, text)
        if region is not None and (is_seen or region.is_removed):
            self._hidden(region, text)
            if region.is_removed:
                return
        escaped = html.escape(text, quote=False)
        if region is not None and is_seen:
            escaped = f'<ins data-change="{region.change}">{escaped}</ins>'
        self._write(escaped)

    # Notes words that a region hides. Their first place gets the mark of their change.
    def _hidden(self, region: Region, text: str) -> None:
        if region.change < 0:
            if not _UNSEEN.sub("", text):
                return
            region.change = len(self._changes)
            self._changes.append(Change(HIDDEN))
            self.regions.append(region)
            if region.is_removed:
                self._write(f'<ins data-change="{region.change}"></ins>')
        region.words.append(text)

    # Notes what is odd about words that can be read.
    def _judge_text(self, text: str, look: Look) -> None:
        if self._has_words and self._empty_lines > MOST_EMPTY_LINES:
            self._odd("a long way without words")
        self._has_words = self._has_words or look.hiding() is None
        self._empty_lines = self._breaks = 0
        lines = text.split("\n")
        longest = max(map(len, lines))
        self._line = len(lines[-1]) + (self._line if len(lines) == 1 else 0)
        most = MOST_IN_PRE if look.keeps_blanks else MOST_ON_ONE_LINE
        if look.is_one_line and max(longest, self._line) > most:
            self._odd("a line that does not break")
        if look.line is not None and look.line < 0.9 * look.size:
            self._odd("lines that lie over each other")
        if look.cut:
            self._odd(look.cut)
        if look.is_symbols and text.strip() not in _BULLET_LETTERS:
            self._odd("a font that draws other letters")
        if look.size < 8:
            self._odd("very small letters")
        self._stack[-1].has_words = True
        if self._stack[-1].is_rtl is None:
            strong = (bidirectional(one) for one in text)
            first = next((one for one in strong if one in ("L", "R", "AL")), None)
            self._stack[-1].is_rtl = None if first is None else first != "L"

    # Returns the tag that is written for an element.
    def _tag(self, written: str, held: Values, above: Look, target: str) -> str:
        has_no_line = "none" in held["text-decoration"] and written in ("s", "u")
        if (
            (written == "a" and not target)
            or has_no_line
            or (written == "s" and above.struck >= MOST_STRUCK)
            or (written in ("sub", "sup") and above.raised >= MOST_RAISED)
        ):
            return "span"
        if written in ("ol", "ul") and (kind := number_style(held)):
            written = "ul" if kind in BULLETS else "ol"
        if above.written_spread + INDENTS.get(written, 0) > MOST_SPREAD:
            return "div"
        return written

    def _attributes(self, tag: str, attributes: Values, above: Look) -> str:
        """Return the attributes of tables and lists."""
        written = ""
        if tag == "table":
            for name, most in (("cellpadding", 12), ("cellspacing", 6), ("border", 4)):
                if _NUMBER.fullmatch(attributes[name]):
                    most = 0 if above.spread > TOO_WIDE else most
                    written += f' {name}="{min(int(attributes[name]), most)}"'
        elif tag in ("td", "th") and _NUMBER.fullmatch(attributes[self._spans]):
            written += (
                f' {self._spans}="{min(max(int(attributes[self._spans]), 1), 30)}"'
            )
        return written

    # Begins a list. Numbers of lists stay as the original prints them.
    def _begin_list(self, opened: _Open, attributes: Values, held: Values) -> None:
        opened.items = []
        opened.step = -1 if "reversed" in attributes else 1
        opened.is_lettered = number_style(held) in LETTERED
        start = _OWN_NUMBER.match(attributes["start"])
        if start:
            opened.first = self._spelled(opened, int(start[1]))

    def _begin_item(self, held: Values, attributes: Values) -> None:
        around = next(
            (one for one in reversed(self._stack[:-1]) if one.items is not None), None
        )
        if around is not None and around.items is not None:
            own = _OWN_NUMBER.match(attributes["value"])
            number = self._spelled(around, int(own[1])) if own else None
            is_item = held["display"] in ("", "list-item")
            around.items.append((len(self.out), number, is_item))

    def _spelled(self, around: _Open, number: int) -> int | None:
        """Return a number; None if its letters could spell a word."""
        if around.is_lettered and number > _MOST_LETTERED:
            self._odd(f"a list with the number {number}")
            return None
        return number

    # Writes the numbers of items that a browser would not count by itself.
    def _end_list(self, opened: _Open) -> None:
        items = opened.items or []
        first = opened.first
        if first is None:
            first = 1 if opened.step > 0 else sum(is_item for *_, is_item in items)
        number = first - opened.step
        counted = 0
        for place, own, is_item in items:
            number = own if own is not None else number + opened.step * is_item
            counted += 1
            if number != counted:
                self.out[place] = f'{self.out[place][:-1]} value="{number}">'
                counted = number

    # Returns the address of a link; empty, with a change noted, if it is not kept.
    def _target(self, href: str) -> str:
        target = re.sub("[\t\n\r]", "", href).strip("".join(map(chr, range(0x21))))
        if self.tree.base and not _SCHEME.match(target):
            try:
                target = urljoin(self.tree.base, target)
            except ValueError:
                target = ""
        scheme = _SCHEME.match(target)
        if scheme and ascii_lower(scheme[0]) in SCHEMES:
            return target.replace("<", "%3C")
        if target and not target.startswith(("#", "x-apple-data-detectors:")):
            self._odd(f"a link to {target[:200]}")
        return ""

    # Writes a picture of a kind that the desk can draw, or what stands in its place.
    def _picture(self, element: Element) -> None:
        attributes = element.attributes
        held, inline = self._styles(element)
        if _hides(held, attributes):
            return
        self._judge(element, held)
        source = attributes["src"].strip(" \t\n\r\f")
        source = f"https:{source}" if source.startswith("//") else source
        written = ""
        if _PICTURES.match(source):
            written = f' src="{html.escape(source)}"'
        elif source:
            self._odd(f"a picture that is not sent ({source[:40]})")
        if "alt" in attributes:
            alt = " ".join(attributes["alt"].split())
            written += f' alt="{html.escape(alt.translate(_NO_TAGS))}"'
        for name in ("width", "height"):
            length = pixels(held[name])
            if length is not None and length >= 0:
                if name == "height":
                    self._empty_lines += min(length, 200) / 20
                    if self._is_far():
                        continue
                written += f' {name}="{min(round(length), 800)}"'
        look = look_inside(
            "img", "img", Values(), self._look, is_first=False, inline=inline
        )
        kept = {
            name: value
            for name, value in held.items()
            if name != "color" and "background" not in name
        }
        style = "max-width:100%;" + style_of("img", Values(kept), look, self._look)
        if labels := [
            attributes[one] for one in ("alt", "title") if attributes[one].strip()
        ]:
            written += f' data-labels="{html.escape(chr(31).join(labels))}"'
        self._write(f'<img{written} style="{style}">')


def _by_attributes(name: str, attributes: Values) -> list[Declaration]:
    """Return what old attributes set, as declarations."""
    found = []
    has_colour = {"font": "color", "body": "text"}.get(name, "")
    has_back = "bgcolor" if name in WITH_BACK else ""
    for attribute, property in ((has_colour, "color"), (has_back, "background-color")):
        if attributes[attribute]:
            found.append(Declaration(property, attribute_colour(attributes[attribute])))
    align = ascii_lower(attributes["align"])
    if name == "center":
        align = "center"
    if name == "table":
        sides = {"center": ("left", "right"), "right": ("left",)}.get(align, ())
        found += [Declaration(f"margin-{side}", "auto") for side in sides]
    elif align:
        found.append(Declaration("text-align", align))
    if attributes["valign"]:
        found.append(Declaration("vertical-align", ascii_lower(attributes["valign"])))
    for attribute in ("width", "height"):
        value = attributes[attribute]
        if re.fullmatch("[0-9]{1,4}(?:px)?|[0-9]{1,3}%", value):
            is_number = value.isdecimal()
            found.append(Declaration(attribute, f"{value}px" if is_number else value))
    if name == "font":
        if size := _FONT_SIZES.get(attributes["size"]):
            found.append(Declaration("font-size", size))
        if attributes["face"]:
            found.append(Declaration("font-family", ascii_lower(attributes["face"])))
    if name in ("ol", "ul", "li") and attributes["type"]:
        found.append(Declaration("list-style-type", attributes["type"]))
    return found


def _hides(held: Values, attributes: Values) -> str:
    """Return the declaration or attribute that hides an element, in plain ways that are
    known to hide; empty if there is none.
    """
    if "hidden" in attributes:
        return "hidden"
    if held["display"] == "none" or held["visibility"] in ("hidden", "collapse"):
        name = "display" if held["display"] == "none" else "visibility"
        return f"{name}: {held[name]}"
    if re.fullmatch(r"0?\.?0[0-9]?|0%", held["opacity"]):
        return f"opacity: {held['opacity']}"
    cuts = held["overflow"] in ("hidden", "clip")
    for name in ("max-height", "height", "max-width", "width"):
        length = pixels(held[name])
        if length is not None and length <= 1 and cuts:
            return f"{name}: {held[name]}"
    is_moved = held["position"] in ("absolute", "fixed")
    for name in ("left", "top", "text-indent", "margin-left"):
        if (pixels(held[name]) or 0) <= -300 and (
            is_moved or name == "text-indent" or name == "margin-left"
        ):
            return f"{name}: {held[name]}"
    return ""


def _is_wrapped(pieces: list, elements: list[Element]) -> bool:
    """Whether one element lies around all others and breaks long words already."""
    if not pieces or pieces[0].name != "div" or pieces[0].kind != "start":
        return False
    style = elements[int(pieces[0].attributes["data-n"])].attributes["style"]
    depth = 0
    for at, piece in enumerate(pieces, 1):
        if piece.kind != "text" and piece.name not in VOID:
            depth += 1 if piece.kind == "start" else -1
        if not depth:
            return at == len(pieces) and style.startswith(WRAPS)
    return False
