"""Turns any HTML into its simple form: few elements, and styles that cannot hide, cover, cut off, move or add words.

No style sheets, positions, floats or sizes that cut off remain. Words that a style hides come out visible. What is left
out or changed is named, with what it could have done to which words. The simple form of a simple form is itself.
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple
from unicodedata import bidirectional
from urllib.parse import urljoin

from simple_form.colours import BLACK, LINK, READABLE, UNREADABLE, WHITE, Colour, colour_of, contrast, over
from simple_form.elements import Element, Tree, cleaned, read_tree
from simple_form.harmless import ROOT_SIZE, Harm, harm_of, length
from simple_form.result import Change, SimpleForm, TooComplex
from simple_form.style_sheets import Declaration

TAGS = frozenset(
    "a b blockquote br code dd div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s span strong sub sup table tbody "
    "td th tr u ul".split()
)
_SAME = {
    "article": "div", "aside": "div", "section": "div", "header": "div", "footer": "div", "main": "div", "nav": "div",
    "address": "div", "figure": "div", "figcaption": "div", "center": "div", "form": "div", "fieldset": "div",
    "details": "div", "summary": "div", "dialog": "div", "marquee": "div", "del": "s", "strike": "s", "ins": "u",
    "thead": "tbody", "tfoot": "tbody", "tt": "code", "samp": "code", "kbd": "code", "cite": "i", "dfn": "i",
    "var": "i", "dir": "ul", "menu": "ul", "listing": "pre",
}  # fmt: skip
_BLOCKS = frozenset("blockquote dd div dl dt h1 h2 h3 h4 h5 h6 li ol p pre table tbody td th tr ul caption".split())
_BLOCK_BOXES = frozenset("block table flex grid flow-root table-cell".split())
# Elements of words on a line.
_WORDS = frozenset("a b code em i s span strong u".split())
_PARTS_OF_TABLES = frozenset("table tbody tr td th li dd dt".split())
_INLINE_BOXES = frozenset(("inline-block", "inline-table", "inline-flex", "inline-grid"))
# What each is drawn larger or smaller by.
_SCALES = {
    "h1": 2.0, "h2": 1.5, "h3": 1.17, "h5": 0.83, "h6": 0.67, "small": 0.83, "big": 1.2, "sub": 0.83, "sup": 0.83,
    "code": 0.8125, "pre": 0.8125, "tt": 0.8125, "kbd": 0.8125, "samp": 0.8125,
}  # fmt: skip
_KEYWORD_SIZES = {
    "xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": 16.0, "large": 18.0, "x-large": 24.0, "xx-large": 32.0,
}  # fmt: skip
# Letters below the first size cannot be read by anybody. The simple form has sizes between the other two.
_NIGHT = Colour(0.07, 0.07, 0.07)
_TINY, _SMALLEST, _LARGEST = 6.0, 10.0, 48.0
# Lines lower than this share of their letters lie over each other.
_CROWDED = 0.9
# Less opaque than this, or so many pixels from the edge, words are not seen.
_PALE, _FAR = 0.35, 450.0
_BESIDE = ("left", "right")
_ALL_SIDES = ("top", "right", "bottom", "left")
_MOST_PULLED = 8.0
_TALL = frozenset(("padding-top", "padding-bottom", "border-top-width", "border-bottom-width"))
_INSETS = tuple(f"{box}-{side}" for box in ("margin", "padding") for side in _BESIDE)
_CUTTING = frozenset(
    f"overflow{axis}: {value}" for axis in ("", "-x", "-y") for value in ("hidden", "clip", "auto", "scroll")
)
# A letter of a long word in pixels at least, and how wide a line is where nothing says so.
_NARROWEST, _WIDEST = 5.0, 300.0
_INDENTING = frozenset("blockquote dd ol ul".split())
MOST_INDENTED, MOST_SPREAD, MOST_RAISED = 5, 240.0, 2
MOST_COLOURS, MOST_ON_ONE_LINE = 6, 60
MOST_NAMED, MOST_LOOKS, MOST_PREHEADER = 200, 12, 200
_FONTS = frozenset(
    (
        *"arial helvetica verdana tahoma georgia calibri cambria garamond roboto inter lato courier times".split(),
        *"palatino aptos consolas menlo monospace serif sans-serif system-ui -apple-system blinkmacsystemfont".split(),
        *("helvetica neue", "times new roman", "trebuchet ms", "courier new", "segoe ui", "open sans", "lucida grande"),
    )
)
_SCHEMES = ("http:", "https:", "mailto:", "tel:", "sms:")
# Characters that turn the direction of writing round, carry hidden text, or stand for others.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069\u206a-\u206f\ufff9-\ufffb]+|(?<!\U0001f3f4)[\U000e0000-\U000e0fff]+")
_UNSEEN = re.compile(
    "[\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_BLANKS = re.compile("[ \t\n\f\r]+")
# Blanks at which no line breaks.
_BREAKS_NOT = "\u00a0\u2000-\u200a\u202f\u205f\u3000\u2800"
_WIDE_BLANKS = re.compile(f"(?<![{_BREAKS_NOT}])[{_BREAKS_NOT}]{{20,}}+")
_PIECE = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [a-z-]+="[^"]*")*)>|([^<]+)')
_ATTRIBUTE = re.compile(r' ([a-z-]+)="([^"]*)"')
_VALUES = {
    "style": re.compile(r"(?<![a-z-])(?:[a-z-]++:[a-zA-Z0-9#%., \-']++;)++"),
    **dict.fromkeys(("colspan", "rowspan", "width", "height", "value", "cellpadding"), re.compile(r"-?[0-9]{1,9}")),
    "dir": re.compile("rtl|ltr"),
}
_ATTRIBUTES = {
    "*": {"style", "dir"}, "a": {"href"}, "img": {"src", "alt", "width", "height"}, "li": {"value"},
    "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}, "table": {"cellpadding"},
}  # fmt: skip


def simplify(source: str) -> SimpleForm:
    """Return the simple form of a message's HTML. Raises TooComplex."""
    try:
        return _Writer(read_tree(_SURROGATES.sub("\ufffd", source))).write()
    except RecursionError as error:
        raise TooComplex("its styles are nested too deeply") from error


class _Look(NamedTuple):
    """How words look at one place: each of `colours` may be on each of `backs`; the first of each is what holds."""

    size: float = ROOT_SIZE
    least: float = ROOT_SIZE
    line: float | None = None  # in pixels
    line_share: float = 1.2  # of the size, where it is not in pixels
    # What may hold instead, of sizes and of lines as (line, line_share).
    other_sizes: tuple[float, ...] = ()
    other_lines: tuple[tuple[float | None, float], ...] = ()
    colours: tuple[Colour, ...] = (BLACK,)
    backs: tuple[Colour, ...] = (WHITE,)
    dark_colours: tuple[Colour, ...] = (BLACK,)
    dark_backs: tuple[Colour, ...] = (WHITE,)
    # What is behind a block: the background of words on a line is not drawn behind it.
    block_backs: tuple[Colour, ...] = (WHITE,)
    page_back: Colour = WHITE
    room: float | None = None
    # Whether the columns of the table around it are as wide as it says, whatever is in them.
    is_fixed: bool = False
    is_right_to_left: bool = False
    # How wide a box around it is that cuts off what is wider.
    clip: float | None = None
    written: tuple[Colour, Colour] = (BLACK, WHITE)
    # The backgrounds that words may reach which are wider than the box around them.
    around: tuple[Colour, ...] = (WHITE,)
    written_size: float = ROOT_SIZE
    written_line: float = 1.2
    is_one_line: bool = False
    keeps_blanks: bool = False
    is_struck: bool = False
    indented: int = 0
    raised: int = 0
    spread: float = 0.0
    is_flex: bool = False
    # An align attribute, which tables do not inherit, has set how words are aligned.
    is_aligned: bool = False
    # Nothing in it is displayed.
    is_gone: bool = False
    opacity: float = 1.0
    # How far in from the left and right edges it begins.
    inset: float = 0.0
    # What is behind the table that it lies in.
    outer_backs: tuple[Colour, ...] = (WHITE,)

    def unreadable(self) -> str:
        """Return why nobody can read words here; empty where they can be read."""
        for colours, backs in ((self.colours, self.backs), (self.dark_colours, self.dark_backs)):
            if len(colours) > MOST_COLOURS or len(backs) > MOST_COLOURS:
                return "its colours depend on the window"
            if any(contrast(over(one, back), back) < UNREADABLE for one in colours for back in backs):
                return "its colour is close to its background"
        if self.least < _TINY:
            return "its letters are too small to read"
        if self.opacity < _PALE:
            return "it is nearly transparent"
        if self.inset > _FAR:
            return "it is pushed out of sight"
        held = (self.line, self.line_share)
        others = ((size, *line) for size in self.other_sizes or (self.size,) for line in self.other_lines or (held,))
        if any(_is_crowded(*one) for one in ((self.size, *held), *others)):
            return "its lines lie over each other"
        return ""


@dataclass(slots=True, eq=False)
class _Open:
    """An open element, written as `tag`; empty where it is left out."""

    name: str
    tag: str
    look: _Look
    slot: int
    harms: list[tuple[str, Harm]]
    text: list[str] = field(default_factory=list)
    known: int = 0
    rtl_slot: int = -1
    is_block: bool = False
    had_words: bool = False
    problem: str | None = None
    has_right: bool = False
    is_first: bool = False
    is_coloured: bool = False
    has_rows: bool = False
    has_foot: bool = False
    # The cells of its last row so far, and whether any row has several.
    cells: int = 0
    is_wide: bool = False
    number: int | None = None
    step: int = 1
    items: list[tuple[int, int | None]] = field(default_factory=list)

    def add_cell(self) -> None:
        self.cells += 1
        self.is_wide = self.is_wide or self.cells > 1


class _Writer:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.changes = list(tree.changes)
        self.looks: Counter[str] = Counter()
        self.out: list[str] = []
        self.stack: list[_Open] = []
        self.collecting: list[_Open] = []
        self.line_has_words = self.has_words = False
        # What floats to the right, until more words come on its line.
        self.at_right: _Open | None = None
        # How far margins below zero have pulled what follows, in pixels.
        self.pulled = 0.0

    def write(self) -> SimpleForm:
        look = _Look(dark_colours=(WHITE,), dark_backs=(_NIGHT,)) if self.tree.has_dark_scheme else _Look()
        harms: list[tuple[str, Harm]] = []
        for part in self.tree.page:
            look = self._look(part, look, "div", is_block=True)
            harms += part.styled.harms
        look = look._replace(page_back=look.backs[0])
        page = _Open("body", "", look, -1, harms, is_block=True)
        style = self._style(page, self.tree.page[1], look, _Look())
        if style:
            self.out.append(f'<div style="{style}">')
        self._push(page)
        self._walk(self.tree.html)
        self._close(self.stack.pop())
        if style:
            self.out.append("</div>")
        if self.looks:
            most = ", ".join(name for name, _ in self.looks.most_common(MOST_LOOKS))
            self.changes.append(Change(most + (" and more" if len(self.looks) > MOST_LOOKS else "")))
        return self._sealed("".join(self.out))

    def _sealed(self, written: str) -> SimpleForm:
        found = _TURNING.findall(written)
        if found:
            number = sum(map(len, found))
            self.changes.append(Change(f"{number} invisible character{'s' if number > 1 else ''}"))
        clean = cleaned(
            _TURNING.sub("", written) if found else written,
            tags=set(TAGS),
            attributes=_ATTRIBUTES,
            attribute_filter=_checked,
            url_schemes={"http", "https", "mailto", "tel", "sms", "cid", "data"},
            url_relative="deny",
            link_rel=None,
        )
        return SimpleForm(clean, written, tuple(self.changes))

    def _walk(self, tree: str) -> None:
        at = 0
        while at < len(tree):
            found = _PIECE.match(tree, at)
            if found is None:
                raise TooComplex("its structure is ambiguous")
            at = found.end()
            closing, tag, attributes, text = found.groups()
            if text is not None:
                self._text(html.unescape(text))
            elif closing:
                self._end()
            else:
                self._start(tag, dict(_ATTRIBUTE.findall(attributes)))

    def _start(self, written: str, marks: Mapping[str, str]) -> None:
        element = self.tree.elements[int(marks["data-n"])] if "data-n" in marks else Element(written)
        if element.change is not None:
            self.out.append(f'<ins data-change="{element.change}"></ins>')
        elif written == "img":
            self._picture(element)
        elif written in ("br", "hr"):
            for how, harm in element.styled.harms:
                if harm.reaches:
                    self._add(Change(f"{how} (of a line)", harm.does))
            self.out.append(f"<{written}>")
            self.line_has_words = False
        else:
            self._open(element, written, marks)

    def _open(self, element: Element, written: str, marks: Mapping[str, str]) -> None:
        above = self.stack[-1].look
        name = element.name if element.name else written
        tag = self._tag(name, written, above, element.styled.held)
        target = self._target(element.attributes.get("href", "")) if tag == "a" else ""
        tag = "span" if tag == "a" and not target else tag
        display = element.styled.held.get("display", "")
        is_block = tag in _BLOCKS or display in ("block", "table", "flex", "grid")
        look = self._look(element, above, name, is_block=is_block or display in _INLINE_BOXES)
        one = _Open(name, tag, look, -1, [*self._harms(element, name, look, above)])
        one.is_block, one.is_first = is_block, not self.has_words
        if one.is_block:
            self._end_line()
        style = self._style(one, element, look, above)
        self.out.append(f"<tr><{tag}" if name == "caption" else f"<{tag}")
        one.slot = len(self.out)
        self.out.append("")
        self.out.append(self._attributes(element, name, target, marks) + (f' style="{style}"' if style else ""))
        if tag == "li":
            self._item(element)
        if tag == "ol":
            self._list(one, element)
        if name == "tr":
            self._table().cells = 0
        elif name in ("td", "th"):
            self._table().add_cell()
        turns_cells = name == "table" and look.is_right_to_left
        if element.styled.held.get("direction") == "ltr":
            self.out.append(' dir="ltr"')
        if element.styled.held.get("direction") == "rtl" or turns_cells:
            one.rtl_slot = len(self.out)
            self.out.append("")
        self.out.append(">")
        if name == "q":
            self.out.append("“")
        self._push(one)

    def _push(self, one: _Open) -> None:
        self.stack.append(one)
        if one.harms or one.rtl_slot >= 0 or one.look.is_one_line or one.tag == "pre":
            self.collecting.append(one)

    def _end(self) -> None:
        if len(self.stack) < 2:
            raise TooComplex("its structure is ambiguous")
        one = self.stack.pop()
        if one.name == "q":
            self.out.append("”")
        self._close(one)
        self.out.append(f"</{one.tag}></tr>" if one.name == "caption" else f"</{one.tag}>")
        if one.is_block:
            self._end_line()

    def _close(self, one: _Open) -> None:
        """Name what an element could do, now that its words are known."""
        if self.collecting and self.collecting[-1] is one:
            self.collecting.pop()
        text = " ".join("".join(one.text).split())
        has_words = not _is_unseen(text)
        has_letters = any(map(str.isalnum, text))
        harms = [
            (how, harm)
            for how, harm in one.harms
            if harm.reaches or (has_words and (has_letters or harm.does != "draw other letters"))
        ]
        if one.problem:
            harms.append((one.problem, Harm("hide it")))
        line = "".join(one.text) if one.look.keeps_blanks else _BLANKS.sub(" ", "".join(one.text))
        widest = max(map(len, line.split("\n")), default=0) * one.look.size / ROOT_SIZE
        is_beside = one.tag == "pre" and contrast(one.look.written[0], one.look.page_back) < UNREADABLE
        if (one.look.is_one_line or is_beside) and widest > MOST_ON_ONE_LINE:
            harms.append(("white-space: nowrap", Harm("cut it off")))
        if one.rtl_slot >= 0:
            if _is_right_to_left(text):
                self.out[one.rtl_slot] = ' dir="rtl"'
            elif has_words and (one.is_wide or (one.name != "table" and (one.has_right or not text[:1].isalpha()))):
                harms.append(("direction: rtl", Harm("move it")))
                self.out[one.rtl_slot] = ' dir="ltr"' if one.name == "table" else ""
        if self._is_at_right(one, harms):
            self.at_right, harms = one, []
        if harms:
            self._note(one, harms, text if has_words else "")
        if one.number is not None:
            self._number_items(one)

    def _add(self, change: Change) -> None:
        if len(self.changes) < MOST_NAMED and change not in self.changes[-3:]:
            self.changes.append(change)

    def _note(self, one: _Open, harms: Iterable[tuple[str, Harm]], text: str) -> None:
        numbers = []
        found = dict(harms)
        is_preheader = one.is_first and one.look.is_gone and len(text) <= MOST_PREHEADER
        is_preheader = is_preheader and {harm.does for harm in found.values()} <= {"hide it", "cut it off"}
        for how, harm in found.items():
            if len(self.changes) < MOST_NAMED:
                numbers.append(str(len(self.changes)))
                self.changes.append(Change(how, harm.does, text[:300], is_preheader))
        if one.slot >= 0 and numbers:
            self.out[one.slot] = f' data-change="{" ".join(numbers)}"'

    def _text(self, text: str) -> None:
        here = self.stack[-1]
        if _turns(text):
            here.harms.append(("characters that turn words round", Harm("move it")))
            self._collect(here)
        if _WIDE_BLANKS.search(text) and not here.look.is_gone:
            here.harms.append(("very many blanks", Harm("move it")))
            self._collect(here)
            text = _WIDE_BLANKS.sub(" ", text)
        if not _is_unseen(text):
            self.line_has_words = self.has_words = True
            if here.problem is None and not here.look.is_gone:
                here.problem = here.look.unreadable()
                if here.problem and here not in self.collecting:
                    self._collect(here)
            if self.at_right is not None:
                # Words behind it on its line.
                self._note(self.at_right, [("float: right", Harm("move it"))], "".join(self.at_right.text).strip())
                self.at_right = None
            widest = len(text) if here.look.is_one_line else _longest_word(text)
            if here.look.room is not None and not here.look.is_gone and widest * here.look.size * 0.6 > here.look.room:
                here.harms.append(("a word that is wider than its box", Harm("move it")))
                self._collect(here)
            if (
                here.look.clip is not None
                and not here.look.is_gone
                and _longest_word(text) * _NARROWEST > here.look.clip
            ):
                here.harms.append(("overflow around it", Harm("cut it off")))
                self._collect(here)
            if len(self.collecting) > 50:
                raise TooComplex("too many of its parts lie in each other")
        for one in self.collecting:
            if one.rtl_slot >= 0 and not text.isascii():
                one.has_right = one.has_right or any(bidirectional(c) in ("R", "AL") for c in text)
            if one.known < 400:
                one.text.append(text)
                one.known += len(text)
        escaped = html.escape(text, quote=False)
        if (here.is_block or not here.is_coloured) and _is_lost_outside(here.look) and not _is_unseen(text):
            colour, back = (one.written() for one in here.look.written)
            escaped = f'<span style="color:{colour};background-color:{back};">{escaped}</span>'
        self.out.append(escaped)

    def _end_line(self) -> None:
        self.line_has_words, self.at_right = False, None
        for one in self.collecting:
            one.text.append(" ")

    def _collect(self, one: _Open) -> None:
        """Collect the words of an element that is open already, in the order of the open elements."""
        self.collecting = [open_one for open_one in self.stack if open_one is one or open_one in self.collecting]

    def _harms(self, element: Element, name: str, look: _Look, above: _Look) -> Iterator[tuple[str, Harm]]:
        """Yield what an element could do here."""
        held = element.styled.held
        if above.is_gone:
            return
        for how, harm in element.styled.harms:
            # A float to the left that stays where it is written: at the beginning of a line.
            is_in_place = how == "float: left" and not self.line_has_words
            # What is in a box that cuts off is looked at by itself.
            is_cutting = how in _CUTTING and not look.is_one_line
            if not is_in_place and not is_cutting:
                yield how, harm
        for one in (*element.styled.unsure, *element.styled.dark_unsure):
            if one == ("direction", "rtl", one.important, one.texts):
                yield "direction: rtl", Harm("move it")
            is_tall = one.name in _TALL and (length(one.value) or 0.0) > 3
            if is_tall and name not in _BLOCKS:
                yield f"{one.name}: {one.value}", Harm("cover other words", reaches=True)
        pulled = sum(-min(length(held.get(f"margin-{side}", "")) or 0.0, 0.0) for side in _ALL_SIDES)
        self.pulled += pulled
        if pulled and self.pulled > _MOST_PULLED:
            yield "margins below zero", Harm("move it", reaches=True)
        if look.room is not None and above.room is not None and look.room > above.room + 1:
            yield "it is wider than what it lies in", Harm("move it")
        if above.clip is not None:
            wide = max(length(held.get(one, "")) or 0.0 for one in ("width", "min-width"))
            aside = [length(held.get(f"{box}-{side}", "")) or 0.0 for box in ("margin", "padding") for side in _BESIDE]
            if wide > min(above.clip, 320) or sum(aside) > 60 or look.is_one_line:
                yield "overflow around it", Harm("cut it off")
        yield from self._moved_in_table(name)

    def _table(self) -> _Open:
        """Return the table around this place; the page where there is none."""
        return next((one for one in reversed(self.stack) if one.name == "table"), self.stack[0])

    def _moved_in_table(self, name: str) -> Iterator[tuple[str, Harm]]:
        """Yield what moves a part of a table: its head and caption are drawn first, its foot last."""
        if name not in ("caption", "thead", "tfoot", "tbody", "tr"):
            return
        table = next((one for one in reversed(self.stack) if one.name == "table"), None)
        if table is None:
            return
        if name in ("caption", "thead") and table.has_rows:
            yield f"<{name}> behind rows of its table", Harm("move it")
        if name in ("tbody", "tr") and table.has_foot and self.stack[-1].name != "tfoot":
            yield "rows behind the foot of their table", Harm("move it")
        table.has_rows = table.has_rows or name in ("tbody", "tr", "tfoot")
        table.has_foot = table.has_foot or name == "tfoot"

    def _is_at_right(self, one: _Open, harms: Sequence[tuple[str, Harm]]) -> bool:
        """Whether an element only floats to the right, as words that end their line do."""
        above = self.stack[-1].look if self.stack else one.look
        is_alone = [how for how, _ in harms] == ["float: right"]
        return is_alone and not one.is_block and one.look.size <= above.size

    # What an element is written as.

    def _tag(self, name: str, written: str, above: _Look, held: Mapping[str, str]) -> str:
        tag = _SAME.get(name, name)
        if name == "caption":
            # A row of its own: anything else would be moved out of the table.
            return "td"
        is_narrow = above.room is not None and above.room < 140
        if tag in _INDENTING and (above.indented >= MOST_INDENTED or is_narrow):
            return "div"
        if tag in ("sub", "sup") and above.raised >= MOST_RAISED:
            return "span"
        if held.get("display") == "inline" and tag in _BLOCKS - {"table", "tbody", "tr", "td", "th"}:
            return "span"
        if tag in ("s", "u") and held.get("text-decoration", "").startswith("none"):
            return "span"
        if tag in TAGS and _SAME.get(written, written) == tag:
            return tag
        return "div" if written in ("div", "object") or _SAME.get(written) == "div" else "span"

    def _attributes(self, element: Element, name: str, target: str, marks: Mapping[str, str]) -> str:
        found = "".join(f' {one}="{marks[one]}"' for one in ("colspan", "rowspan") if one in marks)
        if element.labels:
            found += f' data-labels="{html.escape(chr(31).join(element.labels))}"'
        if target:
            found += f' href="{html.escape(target)}"'
        if name == "table" and (padding := element.attributes.get("cellpadding", "")).isdecimal():
            found += f' cellpadding="{min(int(padding[:4]), 40)}"'
        return found

    def _target(self, href: str) -> str:
        target = re.sub("[\t\n\r]", "", href).strip("".join(map(chr, range(0x21))))
        if self.tree.base and not re.match(r"[a-z][a-z0-9+.-]*:", target, re.IGNORECASE):
            try:
                target = urljoin(self.tree.base, target)
            except ValueError:
                target = ""
        if target.lower().startswith(_SCHEMES):
            return target
        if target and not target.lower().startswith(("#", "x-apple-data-detectors:")):
            self.changes.append(Change(f"a link to {target[:200]}", "change it"))
        return ""

    def _picture(self, element: Element) -> None:
        attributes = element.attributes
        for how, harm in element.styled.harms:
            if harm.reaches or "width" in how:
                self.changes.append(Change(f"{how} (of a picture)", harm.does))
        held = element.styled.held
        source = attributes.get("src", "").strip()
        source = f"https:{source}" if source.startswith("//") else source
        # One that is not seen must not be seen here either.
        is_hidden = self.stack[-1].look.is_gone or "hidden" in attributes
        is_hidden = is_hidden or held.get("display") == "none" or held.get("visibility") == "hidden"
        if not source.lower().startswith(("http:", "https:", "cid:", "data:image/")):
            source = ""
        written = f' src="{html.escape(source)}"' if source else ""
        written += f' alt="{html.escape(" ".join(attributes.get("alt", "").split()))}"' if "alt" in attributes else ""
        for name, most in (("width", 800), ("height", 2000)):
            value = "1px" if is_hidden else held.get(name, "")
            pixels = length(value) if not value.endswith("%") else None
            if pixels is not None and pixels >= 0:
                written += f' {name}="{min(round(pixels), most)}"'
        if element.labels:
            written += f' data-labels="{html.escape(chr(31).join(element.labels))}"'
        self.out.append(f"<img{written}>")
        self.line_has_words = self.line_has_words or bool(attributes.get("alt", "").strip())

    # Lists keep the numbers that are printed.

    def _list(self, one: _Open, element: Element) -> None:
        start = re.fullmatch(r"\s*([+-]?[0-9]{1,9})\b.*", element.attributes.get("start", ""), re.DOTALL)
        one.step = -1 if "reversed" in element.attributes else 1
        one.number = int(start[1]) if start else (-1 if one.step < 0 else 1)
        if one.step < 0 and not start:
            one.number = 0

    def _item(self, element: Element) -> None:
        around = next((one for one in reversed(self.stack) if one.tag in ("ol", "ul")), None)
        value = re.fullmatch(r"\s*([+-]?[0-9]{1,9})\b.*", element.attributes.get("value", ""), re.DOTALL)
        if around is not None and around.number is not None:
            around.items.append((len(self.out), int(value[1]) if value else None))
            self.out.append("")

    def _number_items(self, one: _Open) -> None:
        number = one.number
        if one.step < 0 and number == 0:
            number = len(one.items)
        assert number is not None
        usual = 1
        for slot, value in one.items:
            number = number if value is None else value
            if number != usual:
                self.out[slot] = f' value="{number}"'
            usual = number + 1
            number += one.step

    # How an element looks.

    def _look(self, element: Element, above: _Look, name: str, *, is_block: bool) -> _Look:
        styled = element.styled
        held = styled.held
        size = above.size * _SCALES.get(name, 1.0)
        line, share = above.line, above.line_share
        if "font-size" in held:
            size = _size(held["font-size"], above.size)
        if "line-height" in held:
            line, share = _line(held["line-height"], size, above)
        unsure = _values(styled.unsure)
        dark_unsure = _values(styled.dark_unsure)
        sizes = [_size(one, above.size) for one in (*unsure("font-size"), *dark_unsure("font-size"))]
        lines = [_line(one, max([size, *sizes]), above) for one in unsure("line-height")]
        # As many levels as there are, an unsure size can make them smaller.
        least = min([size if "font-size" in held else above.least * _SCALES.get(name, 1.0), *sizes])
        is_link = name == "a" and "href" in element.attributes
        colour, back = held.get("color", ""), held.get("background-color", "")
        if is_link and not colour:
            colour = self.tree.link_colour or LINK.written()
        if name == "mark":
            colour, back = colour or "black", back or "yellow"
        under = above.block_backs if is_block else above.backs
        under = above.outer_backs if name == "caption" else under
        if held.get("float", "none") != "none":
            # What floats may lie beyond the box around it.
            under = tuple(dict.fromkeys((*under, above.page_back)))
        backs = _backs(under, back, unsure("background-color"))
        # Where a page is in quirks mode, a table does not inherit colours and sizes.
        inherited = tuple(dict.fromkeys((*above.colours, BLACK))) if name == "table" else above.colours
        colours = _colours(inherited, colour, unsure("color"))
        dark_colours, dark_backs = colours, backs
        if self.tree.has_dark_mode or self.tree.has_dark_scheme:
            dark = styled.dark or held
            dark_backs = _backs(
                above.dark_backs,
                dark.get("background-color", back),
                (*unsure("background-color"), *dark_unsure("background-color")),
            )
            dark_colours = _colours(
                above.dark_colours,
                dark.get("color", "") or (colour if is_link else ""),
                (*unsure("color"), *dark_unsure("color")),
            )
        return above._replace(
            size=size,
            least=least,
            line=line,
            line_share=share,
            other_sizes=tuple(sizes) or (() if "font-size" in held else above.other_sizes),
            other_lines=tuple(lines) or (() if "line-height" in held else above.other_lines),
            colours=colours,
            backs=backs,
            dark_colours=dark_colours,
            dark_backs=dark_backs,
            block_backs=backs if is_block else above.block_backs,
            room=_room(held, name, above, size),
            is_fixed=held.get("table-layout") == "fixed" if name == "table" else above.is_fixed,
            is_right_to_left=held.get("direction", "rtl" if above.is_right_to_left else "") == "rtl",
            clip=_clip(held, above.clip),
            is_one_line=_is_one_line(held, above),
            keeps_blanks=held.get("white-space", "").startswith("pre")
            or (above.keeps_blanks and "white-space" not in held),
            opacity=above.opacity * (length(f"{held.get('opacity', '1')}px") or 1.0),
            inset=above.inset + sum(max(length(held.get(one, "")) or 0.0, 0.0) for one in _INSETS),
            outer_backs=above.block_backs if name == "table" else above.outer_backs,
            indented=above.indented + (_SAME.get(name, name) in _INDENTING),
            raised=above.raised + (name in ("sub", "sup")),
            is_aligned=_is_aligned(element, above, name),
            is_gone=above.is_gone or held.get("display") == "none" or "hidden" in element.attributes,
            is_flex="flex" in held.get("display", "") or "grid" in held.get("display", ""),
        )

    def _written(self, look: _Look) -> tuple[Colour, Colour]:
        """Return the colours that are written: those that hold, where they can be read together."""
        back = look.backs[0]
        colour = over(look.colours[0], back)
        if contrast(colour, back) < READABLE:
            colour = max((BLACK, WHITE), key=lambda one: contrast(one, back))
        return colour, back

    def _style(self, one: _Open, element: Element, look: _Look, above: _Look) -> str:
        """Return the style that is written, built of values that were understood."""
        held = element.styled.held
        kept: dict[str, str] = {}
        reference = (LINK, above.written[1]) if one.tag == "a" else above.written
        written = self._written(look)
        # A table says it again, for programs in which it does not inherit.
        is_plain = above.written == (BLACK, WHITE) and above.around == (WHITE,)
        is_restated = one.tag == "table" and not (is_plain and above.written_size == ROOT_SIZE)
        # What may be wider than the box around it has the background of its own.
        is_own = not is_plain and ("width" in held or "max-width" in held or "background-color" in held)
        if written != reference or is_restated or is_own:
            kept["color"], kept["background-color"] = (colour.written() for colour in written)
        size, usual = _clamped(look.size), above.written_size * _SCALES.get(one.tag, 1.0)
        if size != _clamped(usual) or is_restated:
            kept["font-size"], usual = f"{size:.0f}px", size
        around = tuple(dict.fromkeys((*above.around, written[1])))
        one.look = look._replace(written=written, written_size=usual, around=around)
        for name, words in _CHOICES.items():
            if held.get(name, "") in words:
                kept[name] = held[name]
        if one.tag == "table" and above.is_aligned and "text-align" not in held:
            kept["text-align"] = "left"
        decoration = held.get("text-decoration", "").split()
        lines = [line for line in ("underline", "line-through") if line in decoration]
        if lines and not (lines == ["underline"] and one.tag in ("u", "a")):
            kept["text-decoration"] = " ".join(lines)
        elif "none" in decoration and one.tag in ("a", "u"):
            kept["text-decoration"] = "none"
        if "line-height" in held:
            share = look.line / look.size if look.line and look.size else look.line_share
            share = round(min(max(share, 1.1), 2.0), 1)
            if share != above.written_line:
                kept["line-height"] = str(share)
                one.look = one.look._replace(written_line=share)
        if font := _font(held.get("font-family", "")):
            kept["font-family"] = font
        if one.tag == "pre" or held.get("white-space", "") in ("pre", "pre-wrap", "break-spaces", "pre-line"):
            kept["white-space"] = "pre-line" if held.get("white-space") == "pre-line" else "pre-wrap"
        is_box = one.is_block or held.get("display", "") in _INLINE_BOXES
        display = held.get("display", "")
        is_beside = held.get("float", "none") in ("left", "right") or display in _INLINE_BOXES
        if is_beside and one.tag not in _PARTS_OF_TABLES:
            kept["display"] = "inline-block"
            if held.get("float") == "right":
                # What stood at the other end of the line must not touch the words before it.
                kept["margin-left"] = "24px"
        elif one.tag in _WORDS and (above.is_flex or display in _BLOCK_BOXES):
            kept["display"] = "block"
        one.is_coloured = "color" in kept
        self._boxes(one, held, kept, look, is_box)
        self._note_looks(element)
        return "".join(f"{name}:{value};" for name, value in kept.items())

    def _boxes(self, one: _Open, held: Mapping[str, str], kept: dict[str, str], look: _Look, is_box: bool) -> None:
        """Keep what is around the words: paddings, margins, borders and widths, within bounds."""
        spread = look.spread
        tall = 0.0
        for kind in ("margin", "padding"):
            for side in _ALL_SIDES:
                value = held.get(f"{kind}-{side}", "")
                pixels = length(value, look.size)
                if value == "auto" and kind == "margin" and side in ("left", "right") and one.tag == "table":
                    kept[f"{kind}-{side}"] = "auto"
                if pixels is None:
                    continue
                pixels = min(max(round(pixels), 0), 120 if side == "left" else 64)
                if side in ("left", "right"):
                    if spread + pixels > MOST_SPREAD:
                        continue
                    spread += pixels
                elif kind == "padding" and not is_box:
                    tall = max(tall, pixels if held.get("background-color", "") not in _NO_COLOUR else 0)
                    continue
                elif not is_box:
                    continue
                kept[f"{kind}-{side}"] = f"{pixels}px"
        for side in _ALL_SIDES:
            border = _border(*(held.get(f"border-{side}-{what}", "") for what in ("width", "style", "color")))
            if border and (is_box or side in ("left", "right")):
                kept[f"border-{side}"] = border
            elif border:
                tall = max(tall, float(border.partition("px")[0]))
        if tall > 3 and not is_box:
            one.harms = [*one.harms, ("padding or border of words on a line", Harm("cover other words", reaches=True))]
        is_table = one.tag in ("table", "td", "th")
        for name in ("width", "max-width") if is_table or one.tag in ("div", "p") else ():
            value = held.get(name, "")
            pixels = length(value)
            share = length(value, whole=100) if value.endswith("%") else None
            if share is not None and (10 if is_table else 50) <= share <= 100:
                kept[name] = f"{share:.0f}%"
            # A narrow box that does not grow would leave words beside its background.
            elif pixels is not None and (pixels >= 200 or (is_table and name == "width" and pixels >= 40)):
                kept[name] = f"{min(round(pixels), 800)}px"
        hanging = length(held.get("text-indent", ""), look.size) or 0.0
        if hanging < 0 and -hanging <= (length(kept.get("margin-left", "")) or 0.0):
            # The number of an item stands before it.
            kept["text-indent"] = f"{round(hanging)}px"
        if one.tag == "table" and held.get("border-collapse") == "collapse":
            kept["border-collapse"] = "collapse"
        one.look = one.look._replace(spread=spread)

    def _note_looks(self, element: Element) -> None:
        """Count what is left out that changes only the look."""
        for name in element.styled.held:
            if name not in _FOLLOWED and harm_of(name, element.styled.held[name]) is None:
                self.looks[name] += 1


_CHOICES = {
    "font-style": {"italic", "oblique", "normal"},
    "font-weight": {"normal", "bold", *(str(n) for n in range(100, 1000, 100))},
    "text-align": {"left", "right", "center", "justify"},
    "text-transform": {"none", "uppercase", "lowercase", "capitalize"},
    "vertical-align": {"top", "middle", "bottom", "baseline"},
    "list-style-type": {
        "none",
        "disc",
        "circle",
        "square",
        "decimal",
        "lower-alpha",
        "upper-alpha",
        "lower-roman",
        "upper-roman",
    },
}
_FOLLOWED = frozenset(
    (
        *_CHOICES,
        "color",
        "background-color",
        "font-size",
        "font-family",
        "line-height",
        "text-decoration",
        "white-space",
        "direction",
        "display",
        "width",
        "max-width",
        "border-collapse",
        *(f"{kind}-{side}" for kind in ("margin", "padding") for side in _ALL_SIDES),
        *(f"border-{side}-{what}" for side in _ALL_SIDES for what in ("width", "style", "color")),
    )
)


def _checked(tag: str, attribute: str, value: str) -> str | None:
    pattern = _VALUES.get(attribute)
    return value if pattern is None or pattern.fullmatch(value) else None


def _is_unseen(text: str) -> bool:
    """Whether a text has no character that is drawn."""
    return _UNSEEN.fullmatch(text) is not None


def _turns(text: str) -> bool:
    """Whether characters of a text turn its direction round, other than around words that are written so."""
    if text.isascii() or not _TURNING.search(text):
        return False
    is_written_so = any(bidirectional(one) in ("R", "AL") for one in text)
    return any(one in "\u202d\u202e" or (one in "\u202b\u2067\u2068" and not is_written_so) for one in text)


def _is_right_to_left(text: str) -> bool:
    """Whether the first letter is of a script that is written from right to left."""
    return next((kind != "L" for kind in map(bidirectional, text) if kind in ("L", "R", "AL")), False)


def _clamped(size: float) -> float:
    return float(round(min(max(size, _SMALLEST), _LARGEST)))


def _size(value: str, above: float) -> float:
    if value in _KEYWORD_SIZES:
        return _KEYWORD_SIZES[value]
    if value in ("smaller", "larger"):
        return above * (0.83 if value == "smaller" else 1.2)
    size = length(value, above, above)
    return above if size is None else max(size, 0.0)


def _is_one_line(held: Mapping[str, str], above: _Look) -> bool:
    white_space, wraps = held.get("white-space", ""), held.get("text-wrap", held.get("text-wrap-mode", ""))
    if wraps == "nowrap" or white_space in ("nowrap", "pre"):
        return True
    return above.is_one_line and white_space in ("", "inherit") and wraps in ("", "inherit")


def _is_aligned(element: Element, above: _Look, name: str) -> bool:
    align = element.styled.held.get("text-align")
    if align is None:
        return above.is_aligned and name != "table"
    return name == "center" or element.attributes.get("align", "").strip().lower() == align


def _room(held: Mapping[str, str], name: str, above: _Look, size: float) -> float | None:
    """Return how much room words have in pixels, where it is said; a cell is as wide as what is in it."""
    if name in ("td", "th") and above.is_fixed:
        return length(held.get("width", ""))
    if name in ("td", "th", "table"):
        return None
    widths = [pixels for one in ("width", "max-width") if (pixels := length(held.get(one, ""))) is not None]
    room = min(widths) if widths else above.room
    if room is None:
        return None
    inside = ("padding-left", "padding-right") if widths else _INSETS
    lost = sum(max(length(held.get(one, ""), size) or 0.0, 0.0) for one in (*inside, "text-indent"))
    return room - lost - (40 if name in _INDENTING else 0)


def _clip(held: Mapping[str, str], above: float | None) -> float | None:
    """Return how wide the narrowest box is that cuts off what is wider; where it does not say so, as wide as a line."""
    if all(held.get(one, "visible") == "visible" for one in ("overflow", "overflow-x")):
        return above
    widths = [pixels for one in ("width", "max-width") if (pixels := length(held.get(one, ""))) is not None]
    return min([*widths, above or _WIDEST])


def _is_lost_outside(look: _Look) -> bool:
    """Whether words could not be read beside the box they are in, so that they need its background themselves."""
    colour, back = look.written
    return any(contrast(colour, one) < READABLE for one in look.around if one != back)


def _is_crowded(size: float, line: float | None, share: float) -> bool:
    """Whether lines of this height, in pixels or as a share of the size, lie over each other."""
    return (share * size if line is None else line) < _CROWDED * size


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _line(value: str, size: float, above: _Look) -> tuple[float | None, float]:
    if value in ("normal", "initial"):
        return None, 1.2
    if re.fullmatch(r"[0-9]{0,4}\.?[0-9]{1,6}", value):
        return None, float(value)
    pixels = length(value, size, size)
    return (above.line, above.line_share) if pixels is None else (pixels, above.line_share)


def _values(declared: Sequence[Declaration]) -> Callable[[str], tuple[str, ...]]:
    return lambda name: tuple(one.value for one in declared if one.name == name)


_NO_COLOUR = frozenset(("", "inherit", "currentcolor", "unset", "none", "initial", "transparent"))


def _colours(above: tuple[Colour, ...], value: str, unsure: Iterable[str]) -> tuple[Colour, ...]:
    sure = (
        BLACK if value == "initial" else colour_of(value) if value not in _NO_COLOUR or value == "transparent" else None
    )
    others = (colour_of(one) for one in unsure)
    found = ((sure,) if sure is not None else above) + tuple(one for one in others if one is not None)
    return tuple(dict.fromkeys(found))


def _backs(above: tuple[Colour, ...], value: str, unsure: Iterable[str]) -> tuple[Colour, ...]:
    sure = None if value in _NO_COLOUR else colour_of(value)
    found = tuple(over(sure, one) for one in above) if sure is not None else above
    for one in unsure:
        other = colour_of(one)
        if other is not None and other.alpha:
            found += tuple(over(other, back) for back in above[:MOST_COLOURS])
    return tuple(dict.fromkeys(found))


def _font(value: str) -> str:
    """Return the well-known families of a list of fonts."""
    names = (one.strip(" \"'") for one in value.split(","))
    found = [f"'{one}'" if " " in one else one for one in names if one in _FONTS]
    return ", ".join(found[:6])


@lru_cache(maxsize=2048)
def _border(width: str, style: str, colour: str) -> str:
    pixels = {"thin": 1.0, "medium": 3.0, "thick": 5.0}.get(width) or length(width) or 0.0
    if style in ("", "none", "hidden") or pixels <= 0:
        return ""
    read = colour_of(colour)
    return f"{min(max(round(pixels), 1), 8)}px solid {(over(read, WHITE) if read else BLACK).written()}"
