"""Keeps track of where `simplify` is in a message: the elements that are open and the
line so far. Tells what an element or words at that place could do to what people read
(`Harm`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from unicodedata import bidirectional

from simple_form.cascade import Element
from simple_form.colours import UNREADABLE, contrast, over
from simple_form.harmless import Harm, length
from simple_form.html_reading import Values
from simple_form.looks import FAR, Look, around_of
from simple_form.styles import ALL_SIDES, INLINE_BOXES
from simple_form.tables import Table

# Tags of the simple form that begin a line of their own.
BLOCKS = frozenset(
    "blockquote dd div dl dt h1 h2 h3 h4 h5 h6 li ol p pre table tbody td th tr ul caption".split()
)
# Inline elements.
_INLINE_TAGS = frozenset(
    "a abbr b big cite code del em font i ins kbd mark q s samp small span strike strong sub sup u".split()
)
# Elements that are boxes of their own among words.
_BOXES_AMONG_WORDS = frozenset(("table", "button", "output", "ruby"))
# Tables and their parts.
_PARTS = frozenset(("td", "th", "tr", "table", "tbody", "thead", "tfoot", "caption"))
# Harms that are checked by `Look.clip` instead.
_CUTTING = frozenset(
    f"overflow{axis}: {value}"
    for axis in ("", "-x", "-y")
    for value in ("hidden", "clip", "auto", "scroll")
)
PUSHED = "a long line before it"

# How deep <sub> and <sup> may be nested.
MOST_RAISED = 1
# How many parts a row may have.
_MOST_PARTS = 8
# How many columns a table may have if their widths are fixed.
_MOST_FIXED = 3
# Floats that are followed.
MOST_FLOATS = 10

# The following lengths are in pixels. They were found by trying: with them, no message
# that Chromium shows in tests/judge hides or moves words in silence.
#
# The width of a message in a narrow window, and in a wide one.
_NARROW_WINDOW = 300.0
_WIDE_WINDOW = 700.0
# A line from right to left that seems wider leaves a narrow window on the side to which
# nobody can scroll.
_MOST_TURNED = 420.0
# Words that are pushed further along their line count as hidden.
_MOST_PUSHED = 750.0
# By how much negative margins may pull words over others in total, and the width of
# which such a margin may be a share.
_MOST_PULLED = 1.0
_MARGIN_WHOLE = 800
# Parts of a row with a smaller `min-width` may lie over each other.
_NARROW_ITEM = 200.0
# The most margin, border and padding of a part of a row.
_MOST_AROUND = 60.0
# A cell leaves little room to the others of a table with fixed columns if it is wider,
# or takes a larger share of its width.
_MOST_CELL = 240.0
_MOST_CELL_SHARE = 0.6
# A cell that asks for less is narrower than most words. A width of 0 does not count.
_NARROW_CELL = 60.0
# No cell is narrower.
_LEAST_CELL = 10.0
# These properties make an inline element higher than its line if they are larger.
_TALL = ("padding-top", "padding-bottom", "border-top-width", "border-bottom-width")
_MOST_TALL = 3

# The usual and the least width of a letter, as shares of the font size, and what a
# capital adds to each.
_LETTER = 0.6
_CAPITAL = 0.2
_NARROW_LETTER = 0.5
_NARROW_CAPITAL = 0.27
# Invisible characters that count as written from right to left.
RTL_MARKS = "\u200f\u061c"
# Characters at which a line may break.
BREAKS = re.compile(
    "[ \t\n\f\r\u200b\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+"
)


@dataclass(slots=True)
class Numbering:
    """The numbers that a list prints before its items."""

    # Of its first item; 0 stands for the number of items.
    first: int
    step: int
    has_letters: bool
    # Of each item: the index in the output at which its number is written, the number
    # that its author chose, and whether it is counted.
    items: list[tuple[int, int | None, bool]] = field(default_factory=list)

    def unusual(self) -> Iterator[tuple[int, int]]:
        """Yield the index in the output and the number of each item that a browser
        would number differently.
        """
        number = self.first
        if self.step < 0 and number == 0:
            number = len(self.items)
        usual = 1
        for output_index, value, is_counted in self.items:
            number = number if value is None else value
            shown = number if is_counted else number - self.step
            if shown != usual:
                yield output_index, shown
            usual = shown + 1
            number = shown + self.step


@dataclass(slots=True, eq=False)
class OpenElement:
    """An open element. In the simple form it is written as `tag`; empty if it is left
    out. Widths are in pixels.
    """

    name: str
    tag: str
    look: Look
    harms: list[Harm]
    # Tags, classes and ids by which rules name it and the elements around it.
    names: frozenset[str]
    is_block: bool = False
    ends_line: bool = False
    # Whether no words come before it in the message.
    is_first: bool = False
    # The index in the output at which attributes that depend on its words are written.
    output_index: int = -1
    # Its words so far, and how many characters these are.
    text: list[str] = field(default_factory=list)
    text_length: int = 0
    # Why nobody can read its words; None before it has any, empty if they can be read.
    problem: str | None = None
    # Whether words in it could not be read outside its background, which has round
    # corners.
    is_lost: bool = False

    # Whether its author wants it written from right to left, or in the direction of its
    # first letter.
    asks_rtl: bool = False
    asks_auto_direction: bool = False
    # Whether its first letter is of a script that is written from right to left,
    # whether any letter is, whether a line has such letters but begins with another,
    # and whether a line has several parts that change places.
    first_letter_is_rtl: bool | None = None
    has_rtl: bool = False
    is_mixed: bool = False
    has_parts: bool = False

    # Of a cell: the width of its longest word, the width that its content has at least,
    # and the margins, borders and paddings beside its words.
    longest_word: float = 0.0
    least_width: float = 0.0
    around: float = 0.0
    # How many parts it has if it is a flex row.
    row_parts: int = 0
    # If it is a table. The page stands for the table of cells that are in none.
    table: Table = field(default_factory=Table)
    # If it is a list with numbers.
    numbering: Numbering | None = None


@dataclass
class Place:
    """The elements open at a place, the outermost first, and the line so far."""

    stack: list[OpenElement] = field(default_factory=list)
    # Whether the line has words, how many parts of it are moved as wholes from right to
    # left, whether it has a letter written so, and whether its first letter is.
    has_words: bool = False
    parts: int = 0
    has_rtl: bool = False
    begins_rtl: bool | None = None
    # By how many pixels margins below zero have pulled what follows, and by how many
    # inline elements have pushed it along its line.
    pulled: float = 0.0
    pushed: float = 0.0
    # The width of the last words on the line after which no line may break, in pixels.
    unbroken: float = 0.0
    # Floats, until an element is clear of them.
    floats: list[OpenElement] = field(default_factory=list)

    def end_line(self) -> None:
        """End the line, and begin the next."""
        if self.parts > 1 and self.has_words and not self.has_rtl:
            for opened in self.stack:
                opened.has_parts |= opened.asks_rtl
        if self.has_rtl and self.begins_rtl is False:
            for opened in self.stack:
                opened.is_mixed = True
        self.parts = 0
        self.has_words = False
        self.has_rtl = False
        self.begins_rtl = None
        self.pushed = self.unbroken = 0.0

    def add_words(self, text: str) -> None:
        """Add words to the line."""
        self.has_words = True
        self.has_rtl = self.has_rtl or has_rtl(text)
        if self.begins_rtl is None:
            self.begins_rtl = begins_rtl(text)

    def add_float(self, one: OpenElement, element: Element) -> None:
        """Remember an element that floats without a background of its own, and forget
        those of which this element is clear.
        """
        if element.floats and "background-color" not in element.held:
            self.floats = [*self.floats[1 - MOST_FLOATS :], one]
        elif "clear" in element.held or one.name in ("td", "th"):
            self.floats = [other for other in self.floats if other in self.stack]

    def harm_of_width(self, text: str, look: Look) -> Harm | None:
        """Return what happens to words that are wider than their box, or None, and add
        them to the line and to the cell around. Their width is estimated, because the
        reader's fonts are not known.
        """
        is_pre = self.stack[-1].tag == "pre" and not look.is_wrapped
        is_whole = look.is_one_line or is_pre
        words = text.split("\n")
        if not is_whole:
            words = [word for word in BREAKS.split(text) if len(word) > 1] or [""]
        widths = [
            (_LETTER * len(word) + _CAPITAL * sum(map(str.isupper, word))) * look.size
            for word in words
        ]
        is_broken = not is_whole and BREAKS.search(text) is not None
        before = self.unbroken
        widths[0] += before
        self.unbroken = widths[-1] if is_broken or len(words) == 1 else 0.0
        spacing = max(map(len, words)) * look.spacing
        widest = max(widths) + spacing
        letters = max(
            _NARROW_LETTER * len(word) + _NARROW_CAPITAL * sum(map(str.isupper, word))
            for word in words
        )
        least = max(letters * look.size + spacing, widest * _NARROW_LETTER / _LETTER)
        cell = self.enclosing_cell()
        if cell is not None:
            cell.longest_word = max(cell.longest_word, least)
        if before > _MOST_PUSHED and any(map(str.isalnum, words[0])):
            return Harm(PUSHED, "move it")
        room = _NARROW_WINDOW - max(look.inset, 0.0)
        if cell is None and widest > room and look.is_lost_outside():
            return Harm("words beside their background", "hide it")
        if look.room is not None and widest > look.room:
            return Harm("a word that is wider than its box", "move it")
        if look.is_cut_at(least):
            return Harm("overflow around it", "cut it off")
        lost = max(look.inset - look.clip_inset, 0.0)
        if look.is_turned and not is_pre and widest + lost > _MOST_TURNED:
            how = "a line from right to left that leaves the window"
            return Harm(how, "cut it off")
        if look.is_in_row and look.is_one_line and widest > _NARROW_WINDOW / 2:
            return Harm("a line that does not break in a row", "move it")
        return None

    def harms(
        self, element: Element, look: Look, above: Look, *, is_block: bool
    ) -> Iterator[Harm]:
        """Yield what an element that starts here could do to words. Also updates the
        line and the table around it, so read it to its end.
        """
        name = element.name
        if above.is_gone:
            return
        for harm in element.harms:
            # A float to the left at the beginning of a line stays where it is.
            is_in_place = harm.how == "float: left" and not self.has_words
            # Each word in a box that cuts off is checked by itself (`Look.clip`).
            is_followed = not look.is_one_line and not above.is_flex
            if not is_in_place and not (is_followed and harm.how in _CUTTING):
                yield harm
        # What values could do that perhaps apply.
        if "fixed" in element.unsure.get("table-layout", ()):
            yield Harm("table-layout: fixed", "cover other words")
        if "rtl" in element.unsure.get("direction", ()):
            yield Harm("direction: rtl", "move it")
        if "inline" in element.unsure.get("display", ()) and name in BLOCKS:
            yield Harm("display: inline", "hide it", reaches=True)
        for one in _TALL if name not in BLOCKS else ():
            if any(
                (length(value) or 0.0) > _MOST_TALL
                for value in element.unsure.get(one, ())
            ):
                how = f"{one} of words on a line"
                yield Harm(how, "cover other words", reaches=True)
        displays = element.all_of("display")
        is_atomic_inline = (
            any(one in INLINE_BOXES for one in displays)
            or name in _BOXES_AMONG_WORDS
            or "float" in element.held
        )
        if self.add_pulled(element):
            yield Harm("margins below zero", "move it", reaches=True)
        if not is_block:
            self.pushed += around_of(element, look.size)
            if self.pushed > (FAR if above.clip is None else above.clip):
                yield Harm("it pushes words out of sight", "move it", reaches=True)
        yield from self._of_widths(element, look, above, is_atomic_inline)
        if "background-color" in element.held:
            yield from self._of_backgrounds(look, is_block)
        if name in ("td", "th"):
            yield from self._of_cells(element, look)
        yield from self._from_right_to_left(
            element, look, above, is_block, is_atomic_inline
        )
        if name in ("caption", "thead", "tfoot", "tbody", "tr"):
            yield from self._moved_in_table(name)
        is_part = above.is_flex or any(
            one not in ("block", "inline", "list-item", "none") for one in displays
        )
        if above.is_hanging and (is_atomic_inline or is_part):
            yield Harm("text-indent around it", "cover other words")
        if name in ("sub", "sup") and above.raised >= MOST_RAISED:
            yield Harm("several <sub> or <sup> in each other", "move it", reaches=True)

    # Yields what the widths of an element could do.
    def _of_widths(
        self, element: Element, look: Look, above: Look, is_atomic_inline: bool
    ) -> Iterator[Harm]:
        name = element.name
        widest = max(element.lengths("width", "min-width"), default=0.0)
        if (
            look.room is not None
            and above.room is not None
            and look.room > above.room + 1
        ):
            yield Harm("it is wider than what it lies in", "move it")
        is_cut = look.clip is not None and look.is_flex
        if is_cut or (above.clip is not None and widest > above.clip):
            yield Harm("overflow around it", "cut it off")
        if look.is_turned and name not in ("html", "body") and widest > _NARROW_WINDOW:
            yield Harm("a box from right to left that leaves the window", "cut it off")
        if above.is_one_line and is_atomic_inline:
            how = "boxes on a line that does not break"
            yield Harm(how, "cut it off", reaches=True)
        if above.is_flex and any(
            one < _NARROW_ITEM for one in element.lengths("min-width")
        ):
            yield Harm("narrow parts of a row", "cover other words")
        # Parts of a row other than cells of a table.
        is_cell = "table-cell" in element.all_of("display") and name not in _PARTS
        if above.is_flex or is_cell:
            row = self.stack[-1]
            row.row_parts += 1
            is_wide = around_of(element, look.size) > _MOST_AROUND
            if row.row_parts > _MOST_PARTS or is_wide or element.all_of("min-width"):
                how = "a row that is wider than the window"
                yield Harm(how, "move it", reaches=True)
            if above.is_flex and above.is_lost_outside():
                yield Harm("a row beside its background", "hide it")
        cell = self.enclosing_cell()
        if cell is not None and (name == "table" or name not in _PARTS):
            cell.least_width = max(cell.least_width, widest)
        if name in ("td", "th"):
            least = max(element.lengths("min-width"), default=0.0)
            self.enclosing_table().table.least_width += least
        if (
            widest > _NARROW_WINDOW - above.inset
            and above.is_lost_outside()
            and cell is None
        ):
            yield Harm("a box beside its background", "hide it")
        if name == "table" and look.is_fixed and look.is_in_row:
            yield Harm("table-layout: fixed in a row", "cover other words")

    # Yields what the background of an element could do.
    def _of_backgrounds(self, look: Look, is_block: bool) -> Iterator[Harm]:
        if not is_block:
            if look.is_crowded():
                how = "a background that is higher than its line"
                yield Harm(how, "cover other words", reaches=True)
            return
        if any(
            contrast(over(colour, back), back) < UNREADABLE
            for floating in self.floats
            if floating not in self.stack
            for colour in floating.look.light.colours
            for back in look.light.backs
        ):
            how = "words that float over its background"
            yield Harm(how, "hide it", reaches=True)

    # Yields what a table cell could do.
    def _of_cells(self, element: Element, look: Look) -> Iterator[Harm]:
        table = self.enclosing_table().table
        is_cell = all(one == "table-cell" for one in element.all_of("display"))
        if not is_cell and table.spans_rows:
            how = "a cell of another kind beside one of several rows"
            yield Harm(how, "move it", reaches=True)
        widths = element.all_of("width")
        is_narrow = any(
            (length(one, whole=_NARROW_WINDOW) or _NARROW_ITEM) < _NARROW_CELL
            for one in widths
        )
        is_wide = any(
            one > _MOST_CELL
            for one in element.lengths("width", whole=_MOST_CELL / _MOST_CELL_SHARE)
        )
        if is_wide or around_of(element, look.size) > _MOST_AROUND:
            table.is_uneven = True
        if look.is_fixed and (is_narrow or table.cells > _MOST_FIXED):
            how = "columns that are narrower than their words"
            yield Harm(how, "cover other words", reaches=is_narrow)

    # Yields what directions of writing could do.
    def _from_right_to_left(
        self,
        element: Element,
        look: Look,
        above: Look,
        is_block: bool,
        is_atomic_inline: bool,
    ) -> Iterator[Harm]:
        name = element.name
        held = element.held
        displays = element.all_of("display")
        has_dir = "dir" in element.attributes
        if look.is_right_to_left and look.is_flex and name != "table":
            yield Harm("a row from right to left", "move it")
        if look.is_right_to_left and (name == "pre" or "text-indent" in held):
            yield Harm("a line from right to left that begins elsewhere", "cut it off")
        is_turned = "direction" in held or "unicode-bidi" in held
        if not is_block and not has_dir and is_turned:
            yield Harm("another direction of words on a line", "move it")
        if not above.is_right_to_left:
            return
        if "inline" in displays and name not in _INLINE_TAGS:
            # An inline block is one part of the line, and what is next to it another.
            self.parts += 2
        elif (
            (is_atomic_inline and name != "table")
            or look.is_flex
            or displays
            or "unicode-bidi" in held
            or (not is_block and has_dir)
        ):
            self.parts += 1
        if name == "bdi":
            yield Harm("<bdi> among words from right to left", "move it")

    def add_pulled(self, element: Element) -> bool:
        """Add the margins below zero of an element, and return whether these now pull
        something over something else.
        """
        pulled = 0.0
        for side in ALL_SIDES:
            pulled -= min(
                [0.0, *element.lengths(f"margin-{side}", whole=_MARGIN_WHOLE)]
            )
        self.pulled += pulled
        return pulled > 0 and self.pulled > _MOST_PULLED

    def begin_table_part(self, name: str, marks: Values) -> int:
        """Begin a row or cell in its table. Return how many columns the cell spans; 0
        if it is no cell.
        """
        table = self.enclosing_table().table
        if name == "tr":
            table.add_row()
        elif name in ("td", "th"):
            return table.add_cell(
                int(marks.get("colspan", "1")) or 1, int(marks.get("rowspan", "1"))
            )
        return 0

    def harms_of_cell(self, cell: OpenElement) -> Iterator[Harm]:
        """Yield what happens to the words of a cell, now that it ends and its width is
        known.
        """
        around = self.enclosing_table()
        table = around.table
        # Backgrounds around the table end at the edge of the window.
        is_outside = (
            cell.look.light.backs[0] == cell.look.light.outer_backs[0]
            and cell.look.is_lost_outside()
        )
        room = _NARROW_WINDOW if is_outside else _WIDE_WINDOW
        table.longest_word = max(table.longest_word, cell.longest_word)
        is_narrow = table.is_uneven or table.longest_word > _NARROW_WINDOW / table.cells
        if cell.look.is_fixed and table.cells > 1 and is_narrow:
            yield Harm("a word that is wider than its column", "cover other words")
        table.words_width += cell.longest_word + 2 * table.padding
        if table.least_width > _MOST_PUSHED:
            yield Harm("a row that pushes words out of sight", "move it")
        table.least_width += (
            max(cell.least_width, cell.longest_word, _LEAST_CELL)
            + 2 * table.padding
            + cell.around
            + table.spacing
        )
        for outer in reversed(self.stack[: self.stack.index(around)]):
            if outer.name in ("td", "th"):
                outer.least_width = max(outer.least_width, table.least_width)
                break
        if around.look.is_cut_at(table.least_width):
            yield Harm("overflow around it", "cut it off")
        if cell.look.is_cut_at(table.words_width):
            yield Harm("overflow around it", "cut it off")
            table.words_width = -inf
        elif table.words_width > room:
            yield Harm("a row that is wider than the window", "cut it off")
            # So that this is noted once for each row.
            table.words_width = -inf

    def enclosing_cell(self) -> OpenElement | None:
        """Return the cell around this place, if any."""
        for opened in reversed(self.stack):
            if opened.name in ("td", "th", "table"):
                return opened if opened.name != "table" else None
        return None

    def enclosing_table(self) -> OpenElement:
        """Return the table around this place; the page if there is none."""
        return next(
            (opened for opened in reversed(self.stack) if opened.name == "table"),
            self.stack[0],
        )

    def _moved_in_table(self, name: str) -> Iterator[Harm]:
        """Yield what moves a part of a table: its head and caption are drawn first, its
        foot last.
        """
        around = self.enclosing_table()
        if around.name != "table":
            return
        table = around.table
        if name in ("caption", "thead") and table.has_rows:
            yield Harm(f"<{name}> behind rows of its table", "move it")
        is_row = name in ("tbody", "tr")
        if is_row and table.has_foot and self.stack[-1].name != "tfoot":
            yield Harm("rows behind the foot of their table", "move it")
        table.has_rows = table.has_rows or is_row or name == "tfoot"
        table.has_foot = table.has_foot or name == "tfoot"


# Whether a text has letters that are written from right to left.
def has_rtl(text: str) -> bool:
    return not text.isascii() and any(
        bidirectional(character) in ("R", "AL")
        for character in text
        if character not in RTL_MARKS
    )


def begins_rtl(text: str) -> bool | None:
    """Return whether the first letter is of a script that is written from right to
    left; None without letters.
    """
    kinds = (
        bidirectional(character) for character in text if character not in RTL_MARKS
    )
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), None)
