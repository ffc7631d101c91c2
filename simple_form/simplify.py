"""Turns any HTML into its simple form: few elements, and styles that cannot hide,
cover, cut off, move or add words.

What may be written is a short list. Style sheets, positions, floats and sizes that cut
off are not in it. Words that an element hides are removed and named, so that nobody
reads words that others do not see. A simple form is its own simple form.
"""

import html
import re
from dataclasses import dataclass, field
from unicodedata import bidirectional
from urllib.parse import urljoin

import nh3

from simple_form.colours import READABLE, contrast
from simple_form.declarations import (
    held_by,
    is_harmless,
    is_judged_inside,
    pixels,
    written_value,
)
from simple_form.elements import TAGS, Element
from simple_form.html_reading import BLANKS, VOID, Values, ascii_lower
from simple_form.looks import (
    BLOCKS,
    MOST_RAISED,
    TOO_WIDE,
    Hidden,
    Look,
    look_inside,
    style_of,
)
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
from simple_form.tree import MOST_PASSAGE, WRAPS, Tree, cleaned

# Limits of one message: kinds of look that are named, characters that are written in
# addition to three times its size, characters of a preheader, lines without words before
# which something is far away, and characters of a line that does not break.
MOST_NAMED = 200
MOST_WRITTEN = 300_000
MOST_PREHEADER = 400
MOST_EMPTY_LINES = 60
MOST_ON_ONE_LINE = 60
MOST_IN_PRE = 110
# Characters that the desk marks and the simple form does not have, what they are, and
# what is written for them. A flag may be written in tag characters.
_LEFT_OUT = (
    ("control characters", " ", re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")),
    (
        "characters that reverse or hide text",
        "",
        re.compile(
            "[\u202a-\u202e\u2066-\u206f\ufff9-\ufffb]+"
            "|(?<![\U0001f3f4\U000e0000-\U000e0fff])[\U000e0000-\U000e0fff]+"
        ),
    ),
    (
        "very many blanks",
        " ",
        re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000\u2800]{20,}+"),
    ),
    ("marks of words from right to left", "", re.compile("[\u200e\u200f\u061c]")),
)
_ORDINARY = re.compile(r"[\t\n -~]*+")
_RTL = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
MOST_ON_ONE_LINE = 60
MOST_IN_PRE = 110
# Characters that the desk marks and the simple form does not have, what they are, and
# what is written for them. A flag may be written in tag characters.
_LEFT_OUT = (
    ("control characters", " ", re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")),
    (
        "characters that reverse or hide text",
        "",
        re.compile(
            "[\u202a-\u202e\u2066-\u206f\ufff9-\ufffb]+"
            "|(?<![\U0001f3f4\U000e0000-\U000e0fff])[\U000e0000-\U000e0fff]+"
        ),
    ),
    (
        "very many blanks",
        " ",
        re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000\u2800]{20,}+"),
    ),
    ("marks of words from right to left", "", re.compile("[\u200e\u200f\u061c]")),
)
_ORDINARY = re.compile(r"[\t\n -~]*+")
_RTL = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_SEEN = re.compile(
    "[^\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]+"
)
_MANY_LINES = re.compile("\n(?:[ \t]*+\n){10,}+")
_SURROGATES = re.compile("[\ud800-\udfff]")
SCHEMES = frozenset(
    "http https mailto tel sms smsto mms mmsto callto skype facetime facetime-audio whatsapp viber tg sgnl sip "
    "sips".split()
)
_SCHEME = re.compile("[a-zA-Z][a-zA-Z0-9+.-]*(?=:)")
_PICTURES = re.compile(
    "https?:|cid:|data:image/(?:png|jpe?g|gif);base64,", re.IGNORECASE | re.ASCII
)
# The letters that Word's bullets are in a font of symbols.
_BULLET_LETTERS = "·§Øü¨ðàè\uf0b7\uf0a7\uf0d8\uf0fc"
# What help desks hide in their mail, so that they find the answers to it.
_REFERENCE = re.compile(
    r"(?:Message ID: )?[<\[](?=[^<>\[\]]*[0-9])[\w.+/@=-]{6,300}[>\]]"
)
_NUMBER = re.compile("[0-9]{1,6}")
_OWN_NUMBER = re.compile(r"[ \t\n\f\r]*([+-]?[0-9]{1,6})(?![0-9])")
_BULLETS = ("disc", "circle", "square")
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
_LINKS = nh3.Cleaner(
    tags={"a"},
    attributes={"a": {"href"}},
    url_schemes=SCHEMES | {"cid"},
    url_relative="deny",
    link_rel=None,
)


def simplify(source: str) -> SimpleForm:
    """Return the simple form of a message's HTML. Raises TooComplex."""
    writer = _Writer(Tree(_SURROGATES.sub("\ufffd", source)), 3 * len(source))
    written = "".join(writer.out)
    changes = writer.all_changes()
    if _cleaned(written) != written:
        raise TooComplex("its structure is ambiguous")
    return SimpleForm(written, "".join(writer.marked), changes)


def _cleaned(written: str) -> str:
    return cleaned(
        written,
        tags=set(TAGS),
        attributes=ATTRIBUTES,
        values=VALUES,
        url_schemes=SCHEMES | {"cid", "data"},
    )


def _escaped(text: str) -> str:
    """Return text as nh3 writes it."""
    return html.escape(text, quote=False).replace("\xa0", "&nbsp;")


def _attribute(name: str, value: object) -> str:
    escaped = _escaped(str(value)).replace('"', "&quot;")
    return f' {name}="{escaped}"'


@dataclass(frozen=True, slots=True)
class _Form:
    """What an element becomes at one place: its tag, its start as it is written, and how
    words look in it.
    """

    tag: str
    start: str
    look: Look
    # Empty lines that it adds, whether it is an item of a list that counts, and whether
    # the original writes it from right to left.
    lines: float
    is_item: bool
    is_rtl: bool
    odd: list[str]


@dataclass(slots=True)
class _Open:
    """An open element, or one whose words are removed."""

    form: _Form
    is_removed: bool = False
    has_words: bool = False
    # The direction of its first letter.
    direction: str = ""
    # Of a list: the number of the next item, and of the last as a browser counts.
    number: int = 1
    step: int = 1
    counted: int = 0


@dataclass(slots=True)
class _Region:
    """Words that the original hides. They are removed, or kept so that they can be read."""

    how: str
    is_removed: bool
    # Whether it is at the beginning, before all words that people see.
    is_first: bool
    # The index of its change.
    change: int
    words: list[str] = field(default_factory=list)


class _Writer:
    """Writes the simple form of a tree to `out`, and with marks of changes to `marked`."""

    def __init__(self, tree: Tree, most: int) -> None:
        self.out: list[str] = []
        self.marked: list[str] = []
        self._tree = tree
        self._left = most + MOST_WRITTEN
        self._last = ""
        self._stack: list[_Open] = []
        self._forms: dict[tuple[Element, Look, bool], _Form] = {}
        self._regions: list[_Region] = []
        self._region: _Region | None = None
        self._has_words = self._has_rtl = False
        self._line = 0
        self._empty_lines = 0.0
        elements = [one for one in tree.pieces if isinstance(one, Element)]
        spans = {
            name
            for name in ("colspan", "rowspan")
            if any(one.attributes[name] for one in elements)
        }
        # Cells that span both rows and columns could lie over each other.
        self._span = "rowspan" if spans == {"rowspan"} else "colspan"
        if len(spans) == 2:
            tree.odd["cells that span rows"] = None
        for piece in tree.pieces:
            if isinstance(piece, Element):
                self._start(piece)
            elif isinstance(piece, str):
                self._text(piece)
            elif isinstance(piece, int):
                self._write("", f'<ins data-change="{piece}"></ins>')
            else:
                self._end()

    def all_changes(self) -> tuple[Change, ...]:
        """Return what was changed, each kind of look once."""
        changes = self._tree.changes
        for region in self._regions:
            words = " ".join(_SEEN.findall("".join(region.words)))
            code = HIDDEN if region.is_removed else COLOURS
            if _REFERENCE.fullmatch(words):
                code = LEFT_OUT
            if region.is_removed and region.is_first and len(words) <= MOST_PREHEADER:
                code = PREHEADER
            changes[region.change] = Change(code, region.how, words[:MOST_PASSAGE])
        odd = list(self._tree.odd)[:MOST_NAMED]
        return (*changes, *(Change(LOOK, how) for how in odd))

    def _note(self, how: str) -> None:
        self._tree.odd[how] = None

    def _write(self, text: str, marked: str | None = None) -> None:
        self._left -= len(text)
        if self._left < 0:
            raise TooComplex("its simple form would be too large")
        self.out.append(text)
        self.marked.append(text if marked is None else marked)
        self._last = text or self._last

    # Whether hidden words are removed. Those that only a style sheet hides are kept,
    # because some programs show them; but not at the beginning.
    def _removes(self, hidden: Hidden | None) -> bool:
        return hidden is not None and (hidden.is_sure or not self._has_words)

    # Whether so much room without words came that no more is written.
    def _is_far(self) -> bool:
        return self._has_words and self._empty_lines > MOST_EMPTY_LINES / 2

    def _start(self, element: Element) -> None:
        above = self._stack[-1].form.look if self._stack else Look()
        key = (element, above, self._is_far())
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = self._form(*key)
        tag = form.tag
        attributes = element.attributes
        gone = form.look.gone
        opened = _Open(form, self._removes(gone))
        if not (gone and gone.is_sure):
            self._tree.odd.update(dict.fromkeys(form.odd))
        if not opened.is_removed:
            self._empty_lines += form.lines
            if tag in BLOCKS or tag == "br":
                self._line = 0
            start = form.start
            if tag in ("ol", "ul"):
                number = self._own_number(attributes["start"], form)
                if number is not None:
                    opened.number = number
                    opened.step = -1 if "reversed" in attributes else 1
            elif tag == "li":
                start = start.replace(">", f"{self._value(element, form)}>")
            titles = ("alt", "title") if tag == "img" else ("title", "aria-label")
            labels = [attributes[one] for one in titles if attributes[one].strip()]
            marked = _attribute("data-labels", "\x1f".join(labels)) if labels else ""
            self._write(start, start.replace(f"<{tag}", f"<{tag}{marked}"))
        if tag not in VOID:
            self._stack.append(opened)

    def _end(self) -> None:
        opened = self._stack.pop()
        form = opened.form
        if form.is_rtl and opened.has_words and opened.direction in ("", "L"):
            self._note("words from right to left")
        if self._stack:
            around = self._stack[-1]
            around.has_words = around.has_words or opened.has_words
            around.direction = around.direction or opened.direction
        if not opened.is_removed:
            self._write(f"</{form.tag}>")

    def _form(self, element: Element, above: Look, is_low: bool) -> _Form:
        name = element.name
        attributes = element.attributes
        declarations, own = self._tree.declared(element)
        held = held_by(declarations)
        if above.flow == "row":
            # Words that stand beside each other do not touch.
            held = Values({"margin-left": "8px", "margin-right": "8px"} | held)
        room = max(pixels(held[one]) or 0 for one in ("margin-left", "padding-left"))
        odd = [
            f"{one.name}: {one.value}"[:80]
            for one in declarations
            if not (is_judged_inside(one) and element.tag not in VOID)
            and one.name != "visibility"
            and not is_harmless(one, name, room)
        ]
        target = self._target(attributes["href"]) if element.tag == "a" else ""
        if "reversed" in attributes and not _OWN_NUMBER.match(attributes["start"]):
            held["list-style-type"] = "disc"
            odd.append("a list that counts down")
        tag = _tag(element.tag, held, above, target)
        look = look_inside(tag, name, held, held_by(own), above)
        if element is self._tree.pieces[0]:
            if look.hiding() not in (None, look.faint):
                odd.append("a page that is hidden")
            ink, _ = look.colours()
            if ink != look.ink:
                odd.append("colours of the page")
            look = look._replace(gone=None, invisible=None, tiny=None, page_ink=ink)
        if look.spread > TOO_WIDE:
            odd.append("boxes in each other that take all the width")
        is_faint = contrast(above.page_ink, look.back) < READABLE
        if tag == "table" and not held["color"] and is_faint:
            odd.append("colours of a table")

        style = style_of(tag, held, look, above, is_low=is_low)
        if element is self._tree.pieces[0]:
            style = WRAPS + style
        written = _attribute("href", target) if target else ""
        lines = 0.0
        if tag == "img":
            written += self._picture(attributes, held, is_low)
            style = f"max-width:100%;{style}"
            lines = min(pixels(held["height"]) or 0, 200) / 20
        elif tag == "table":
            for one, most in (("cellpadding", 12), ("cellspacing", 6), ("border", 4)):
                if _NUMBER.fullmatch(attributes[one]):
                    most = 0 if above.spread > TOO_WIDE else most
                    written += _attribute(one, min(int(attributes[one]), most))
        elif tag in ("td", "th") and _NUMBER.fullmatch(attributes[self._span]):
            span = min(max(int(attributes[self._span]), 1), 30)
            written += _attribute(self._span, span)
        direction = ascii_lower(attributes["dir"].strip(BLANKS))
        is_rtl = direction == "rtl" or held["direction"] == "rtl"
        if is_rtl or direction == "auto":
            written += _attribute("dir", "auto")
        if style and tag not in ("br", "hr"):
            written += _attribute("style", style)
        start = f"<{tag}{written}>"
        if tag in ("br", "hr"):
            lines = 1
            start = "" if is_low else f"<{tag}>"
        elif tag in BLOCKS:
            sides = ("padding-top", "padding-bottom", "margin-top")
            room = sum(pixels(held[side]) or 0 for side in sides)
            lines = max(0, min(room, 400)) / 20
        is_item = held["display"] in ("", "list-item")
        return _Form(tag, start, look, lines, is_item, is_rtl, odd)

    def _picture(self, attributes: Values, held: Values, is_low: bool) -> str:
        """Return the attributes of a picture of a kind that the desk can draw."""
        source = attributes["src"].strip(BLANKS)
        if source.startswith("//"):
            source = f"https:{source}"
        written = ""
        if _PICTURES.match(source) and _is_address(source):
            written = _attribute("src", self._plain(source))
        elif source:
            self._note(f"a picture that is not sent ({source[:40]})")
        if "alt" in attributes:
            alt = " ".join(attributes["alt"].split()).replace("<", "‹")
            written += _attribute("alt", self._plain(alt))
        for name in ("width", "height"):
            length = pixels(held[name])
            if length is not None and length >= 0 and not (is_low and name == "height"):
                written += _attribute(name, min(round(length), 800))
        return written

    # Returns the address of a link; empty, with a change noted, if it is not kept.
    def _target(self, href: str) -> str:
        target = re.sub("[\t\n\r]", "", href).strip("".join(map(chr, range(0x21))))
        if self._tree.base and not _SCHEME.match(target):
            try:
                target = urljoin(self._tree.base, target)
            except ValueError:
                target = ""
        scheme = _SCHEME.match(target)
        target = self._plain(target).replace("<", "%3C")
        if scheme and ascii_lower(scheme[0]) in SCHEMES and _is_address(target):
            return target
        if target and not target.startswith(("#", "x-apple-data-detectors:")):
            self._note(f"a link to {target[:200]}")
        return ""

    def _value(self, element: Element, form: _Form) -> str:
        """Return the `value` of an item of a list if a browser would count another."""
        lists = (one for one in reversed(self._stack) if one.form.tag in ("ol", "ul"))
        around = next(lists, None)
        if around is None:
            return ""
        own = self._own_number(element.attributes["value"], around.form)
        number = around.number if own is None else own
        around.number = number + around.step * form.is_item
        around.counted += 1
        if around.counted == number:
            return ""
        around.counted = number
        return _attribute("value", number)

    # Returns the number of a list or item; None if its letters could spell a word.
    def _own_number(self, written: str, form: _Form) -> int | None:
        match = _OWN_NUMBER.match(written)
        if match is None:
            return None
        number = int(match[1])
        if number > _MOST_LETTERED and re.search("alpha|roman", form.start):
            self._note(f"a list with the number {number}")
            return None
        return number

    def _text(self, text: str) -> None:
        look = self._stack[-1].form.look
        is_seen = _SEEN.search(text) is not None
        hidden = look.hiding()
        is_removed = hidden is not look.faint and self._removes(hidden)
        if hidden:
            self._hide(hidden.how, is_removed, text)
        elif is_seen:
            self._region = None
        if is_removed:
            return
        if is_seen:
            self._judge_text(text, look)
        elif text.strip(BLANKS):
            # A blank that keeps a line open.
            self._empty_lines += 2
            if self._is_far():
                return
        if look.keeps_blanks() and _MANY_LINES.search(text):
            self._note("very many empty lines")
            text = _MANY_LINES.sub("\n" * 10, text)
        if self._last.startswith("<pre"):
            # Parsers leave out the first end of a line.
            text = text.lstrip("\n")
        marked = _escaped(text)
        if hidden and is_seen and self._region:
            marked = f'<ins data-change="{self._region.change}">{marked}</ins>'
        self._write(_escaped(self._plain(text)), marked)

    # Notes hidden words. The first place of those that are removed gets a mark.
    def _hide(self, how: str, is_removed: bool, text: str) -> None:
        region = self._region
        if region is None or (region.how, region.is_removed) != (how, is_removed):
            if not _SEEN.search(text):
                return
            changes = self._tree.changes
            region = _Region(how, is_removed, not self._has_words, len(changes))
            changes.append(Change(HIDDEN))
            self._regions.append(region)
            self._region = region
            if is_removed:
                self._write("", f'<ins data-change="{region.change}"></ins>')
        region.words.append(text)

    def _plain(self, text: str) -> str:
        """Return text without the characters that are left out."""
        if _ORDINARY.fullmatch(text):
            return text
        # The last ones may stand behind letters that are written from right to left.
        self._has_rtl = self._has_rtl or _RTL.search(text) is not None
        for how, instead, pattern in _LEFT_OUT[: 3 if self._has_rtl else 4]:
            if pattern.search(text):
                self._note(how)
                text = pattern.sub(instead, text)
        return text

    # Notes what is odd about words that can be read.
    def _judge_text(self, text: str, look: Look) -> None:
        if self._has_words and self._empty_lines > MOST_EMPTY_LINES:
            self._note("a long way without words")
        self._has_words = self._has_words or look.hiding() is None
        self._empty_lines = 0
        lines = text.split("\n")
        self._line = len(lines[-1]) + (self._line if len(lines) == 1 else 0)
        most = MOST_IN_PRE if look.keeps_blanks() else MOST_ON_ONE_LINE
        longest = max(self._line, *map(len, lines))
        if look.white_space in ("nowrap", "pre") and longest > most:
            self._note("a line that does not break")
        if look.line is not None and look.line < 0.9 * look.size:
            self._note("lines that lie over each other")
        if look.cut:
            self._note(look.cut)
        if look.is_symbols and text.strip() not in _BULLET_LETTERS:
            self._note("a font that draws other letters")
        if look.size < 8:
            self._note("very small letters")
        opened = self._stack[-1]
        opened.has_words = True
        if not opened.direction:
            strong = (
                one for one in map(bidirectional, text) if one in ("L", "R", "AL")
            )
            opened.direction = next(strong, "")


def _tag(tag: str, held: Values, above: Look, target: str) -> str:
    """Return the tag that is written in place of another one."""
    has_no_line = "none" in held["text-decoration"] and tag in ("s", "u")
    is_raised = above.raised >= MOST_RAISED and tag in ("s", "sub", "sup")
    if (tag == "a" and not target) or has_no_line or is_raised:
        return "span"
    if tag in ("ol", "ul"):
        kind = written_value("list-style-type", tag, held["list-style-type"], 0)
        if kind in _BULLETS:
            return "ul"
        return "ol" if kind not in ("", "none") else tag
    return tag


def _is_address(value: str) -> bool:
    """Whether nh3 keeps it as an address."""
    link = f"<a{_attribute('href', value)}></a>"
    return value.startswith("data:") or _LINKS.clean(link) == link
