"""Works out how words look at each place of a message (colours, font size, line height,
room), from the page down to each element, for every value that a browser might use.

`simplify` asks each `Look` whether its words can be read.
"""

import re
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from simple_form.cascade import Element
from simple_form.colours import (
    BLACK,
    LINK,
    READABLE,
    UNREADABLE,
    WHITE,
    Colour,
    colour_of,
    contrast,
    over,
)
from simple_form.elements import Tree
from simple_form.harmless import LARGEST_WINDOW, ROOT_SIZE, attribute_length, length

BESIDE = ("left", "right")
INDENTING = frozenset("blockquote dd ol ul dir menu".split())
# By how much browsers change the font size in these elements.
SCALES = {
    "h1": 2.0, "h2": 1.5, "h3": 1.17, "h5": 0.83, "h6": 0.67, "small": 0.83, "big": 1.2, "sub": 0.83, "sup": 0.83,
    "code": 0.8125, "pre": 0.8125, "tt": 0.8125, "kbd": 0.8125, "samp": 0.8125,
}  # fmt: skip
_KEYWORD_SIZES = {
    "xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": 16.0, "large": 18.0, "x-large": 24.0, "xx-large": 32.0,
}  # fmt: skip
# Values of `background-color` that paint nothing.
NO_COLOUR = frozenset(
    ("", "inherit", "currentcolor", "unset", "none", "initial", "transparent")
)
# The background of a page in dark mode.
_NIGHT = Colour(0.07, 0.07, 0.07)
_NIGHT_LINK = Colour(158 / 255, 158 / 255, 1)
# The most colours that words at one place may have, and lines that may go through them.
MOST_COLOURS = 6
MOST_STRUCK = 2
# Elements with a line through their words.
_STRUCK = frozenset(("s", "strike", "del"))
# Values of `white-space` with which lines break.
_WRAPPED = frozenset(("pre-wrap", "pre-line", "break-spaces", "normal"))
# Elements with a line under their words.
_LINED = frozenset(("u", "ins"))
# Below the first font size, in pixels, nobody can read letters. Below the second line
# height, as a share of the font size, lines overlap.
_SMALLEST_FONT = 8.0
_LEAST_LINE_SHARE = 1.0
# With less opacity, or more pixels from the left or right edge, words are not seen.
_LEAST_OPACITY = 0.5
FAR = 400.0
# How many pixels wide a line is if nothing sets a width.
_WIDEST = 300.0
# A box with this share of the width or more has room for any word.
_LARGE_SHARE = 0.5
_INSETS = tuple(f"{box}-{side}" for box in ("margin", "padding") for side in BESIDE)


Colours = tuple[Colour, ...]


class Shades(NamedTuple):
    """The colours that words and backgrounds may have at one place. The first of each
    is the one that applies; any of `colours` may be on any of `backs`.
    """

    colours: Colours = (BLACK,)
    backs: Colours = (WHITE,)
    # What is behind a block: backgrounds of inline elements are not drawn behind it.
    block_backs: Colours = (WHITE,)
    # What is behind the table around this place.
    outer_backs: Colours = (WHITE,)

    def changed(
        self,
        name: str,
        is_block: bool,
        beside: Colours,
        colours: tuple[str, Iterable[str]],
        backs: tuple[str, Iterable[str]],
    ) -> "Shades":
        """Return the colours inside of an element with this tag.

        `colours` and `backs` each have the value that applies and those that may apply
        instead. `beside` are backgrounds that may be behind the element besides those
        of the elements around it.
        """
        value, others = colours
        colour = BLACK if value == "initial" else colour_of(value)
        inside = self.colours if colour is None else (colour,)
        inside += tuple(filter(None, map(colour_of, others)))
        value, others = backs
        under = self.block_backs if is_block else self.backs
        if name == "caption":
            # A caption is drawn outside of its table.
            under = self.outer_backs
        under += beside
        back = colour_of(value)
        behind = under if back is None else tuple(over(back, one) for one in under)
        for other in map(colour_of, others):
            if other is not None and other.alpha:
                behind += tuple(over(other, one) for one in under[:MOST_COLOURS])
        behind = tuple(dict.fromkeys(behind))[: MOST_COLOURS + 1]
        return Shades(
            tuple(dict.fromkeys(inside))[: MOST_COLOURS + 1],
            behind,
            behind if is_block else self.block_backs,
            self.block_backs if name == "table" else self.outer_backs,
        )


_LIGHT = Shades()
# The colours of a page without styles in dark mode.
_DARK = Shades((WHITE,), (_NIGHT,), (_NIGHT,), (_NIGHT,))


class LineHeight(NamedTuple):
    """How high lines are: in pixels, or if that is None as a share of the font size."""

    pixels: float | None = None
    share: float = 1.2

    def of(self, size: float) -> float:
        """Return the height in pixels for a font size."""
        return self.share * size if self.pixels is None else self.pixels


_NORMAL = LineHeight()


@dataclass
class Look:
    """How words look at one place, in light and in dark mode. Lengths are in pixels."""

    light: Shades = _LIGHT
    dark: Shades = _LIGHT
    size: float = ROOT_SIZE
    least: float = ROOT_SIZE
    line: LineHeight = _NORMAL
    # `size` is the font size, `least` the smallest it may be, and `line` the line
    # height. Font sizes and line heights that may apply instead:
    other_sizes: tuple[float, ...] = ()
    other_lines: tuple[LineHeight, ...] = ()
    page_back: Colour = WHITE
    # The colours of the page, for tables that do not inherit those around them.
    page_colours: Colours = ()
    # How much width words have, if a style sets it.
    room: float | None = None
    # Whether the table around it has columns of fixed width, whatever is in them.
    is_fixed: bool = False
    is_right_to_left: bool = False
    # The width of the nearest box around it that cuts off what does not fit.
    clip: float | None = None
    # The `inset` at which that box begins.
    clip_inset: float = 0.0
    # Whether it is in a row (see `is_row`), and in a part that is written from right to
    # left in a page that is not.
    is_in_row: bool = False
    is_turned: bool = False
    # Colour and background in the simple form, and whether this element sets them
    # there.
    written: tuple[Colour, Colour] = (BLACK, WHITE)
    is_coloured: bool = False
    # The backgrounds that words may lie on if they are wider than the box around them.
    around: Colours = (WHITE,)
    # Font size, line height and width in the simple form.
    written_size: float = ROOT_SIZE
    written_line: float = 1.2
    written_room: float = LARGEST_WINDOW
    is_one_line: bool = False
    # Whether this element's own `white-space` lets its lines break.
    is_wrapped: bool = False
    keeps_blanks: bool = False
    # How many elements around it indent their words, and raise or lower them.
    indented: int = 0
    raised: int = 0
    # How many lines go through it; the largest font size for which an element around it
    # draws lines; and how much width margins and paddings of the simple form take.
    struck: int = 0
    lined: float = 0.0
    spread: float = 0.0
    is_flex: bool = False
    # The alignment by an `align` attribute, which tables do not inherit.
    aligned: str = ""
    # How many letters fit between the round corners of its background; None for any
    # number.
    rounded: int | None = None
    # Whether nothing in it is displayed.
    is_gone: bool = False
    opacity: float = 1.0
    # How far in from the left and right edges it begins.
    inset: float = 0.0
    # The `letter-spacing`, and whether a `text-indent` applies to its first lines.
    spacing: float = 0.0
    is_hanging: bool = False

    def is_lost_outside(self) -> bool:
        """Whether words could not be read if they were wider than the box they are in:
        then they need its background themselves.
        """
        colour, back = self.written
        return any(
            contrast(colour, one) < READABLE for one in self.around if one != back
        )

    def is_cut_at(self, width: float) -> bool:
        """Whether a box around it cuts off words of this width."""
        if self.clip is None:
            return False
        return self.inset - self.clip_inset + width > self.clip

    def unreadable(self) -> str:
        """Return why nobody can read words here; empty if they can be read."""
        for colours, backs, *_ in (self.light, self.dark):
            if len(colours) > MOST_COLOURS or len(backs) > MOST_COLOURS:
                return "it may have too many different colours"
            faded = [one._replace(alpha=one.alpha * self.opacity) for one in colours]
            if any(
                contrast(over(one, back), back) < UNREADABLE
                for one in faded
                for back in backs
            ):
                return "its colour is close to its background"
        if self.least < _SMALLEST_FONT:
            return "its letters are too small to read"
        if self.opacity < _LEAST_OPACITY:
            return "it is nearly transparent"
        if self.inset > FAR:
            return "it is pushed out of sight"
        if self.struck > MOST_STRUCK:
            return "too many lines go through it"
        return "its lines lie over each other" if self.is_crowded() else ""

    def is_crowded(self) -> bool:
        """Whether line heights may be so small that letters lie over each other."""
        if self.line.pixels is not None and self.line.pixels < self.lined:
            return True
        others = product(
            self.other_sizes or (self.size,), self.other_lines or (self.line,)
        )
        return any(
            line.of(size) < _LEAST_LINE_SHARE * size
            for size, line in ((self.size, self.line), *others)
        )


def look_of_page(tree: Tree) -> Look:
    """Return how words look outside of all elements, without any style."""
    return Look(dark=_DARK) if tree.sheets.has_dark_scheme else Look()


def look_of(element: Element, above: Look, tree: Tree, *, is_block: bool) -> Look:
    """Return how words in an element look, if words around it look as in `above`."""
    name = element.name
    held = element.held
    look = copy(above)
    _set_letters(element, look)
    look.light, look.dark = _shades(element, above, tree, is_block)
    look.room = _room(element, above, look.size)
    if name in ("mark", "button") or any(element.all_of("background-color")):
        look.rounded = _rounded(element)
    look.clip = _clip(element, above.clip)
    if look.clip != above.clip:
        look.clip_inset = above.inset
    white_spaces = element.all_of("white-space")
    if white_spaces:
        look.is_one_line = "nowrap" in white_spaces or "pre" in white_spaces
    look.is_wrapped = held["white-space"] in _WRAPPED
    if "white-space" in held:
        look.keeps_blanks = held["white-space"].startswith("pre")
    if name == "table":
        look.aligned = ""
        look.is_fixed = held["table-layout"] == "fixed"
    if "text-align" in held:
        align = element.attributes["align"].strip().lower()
        is_old = name == "center" or align == held["text-align"]
        look.aligned = held["text-align"] if is_old else ""
    if indents := element.all_of("text-indent"):
        look.is_hanging = any(length(one) != 0 for one in indents)
    if "direction" in held:
        look.is_right_to_left = held["direction"] == "rtl"
    # A page that is all written from right to left can be scrolled to the left.
    if name not in ("html", "body") and not above.is_right_to_left:
        look.is_turned |= "rtl" in element.all_of("direction")
    opacities = [length(f"{one}px") or 1.0 for one in element.all_of("opacity")]
    look.opacity *= min(opacities, default=1.0)
    spacings = element.lengths("letter-spacing", size=look.size)
    look.spacing = max(spacings, default=above.spacing)
    look.inset += _inset(element, look.size)
    look.indented += name in INDENTING
    look.raised += name in ("sub", "sup")
    look.is_gone |= held["display"] == "none" or "hidden" in element.attributes
    look.is_in_row |= above.is_flex
    look.is_flex = is_row(element)
    return look


def _set_letters(element: Element, look: Look) -> None:
    """Set the font sizes, line heights and drawn lines of `look` for an element."""
    name = element.name
    held = element.held
    sizes = tuple(_size(one, look.size) for one in element.unsure.get("font-size", ()))
    if "font-size" in held:
        look.size = look.least = _size(held["font-size"], look.size)
        look.other_sizes = ()
    else:
        # The browser scales the inherited size, so also the smallest possible one.
        look.size *= SCALES.get(name, 1.0)
        look.least *= SCALES.get(name, 1.0)
    look.least = min([look.least, *sizes])
    look.other_sizes = sizes or look.other_sizes
    largest = max([look.size, *sizes])
    lines = tuple(
        _line(one, largest, look.line) for one in element.unsure.get("line-height", ())
    )
    if "line-height" in held:
        look.line = _line(held["line-height"], look.size, look.line)
        look.other_lines = ()
    look.other_lines = lines or look.other_lines
    drawn = " ".join(element.all_of("text-decoration"))
    is_struck = "line-through" in drawn or name in _STRUCK
    look.struck += is_struck
    if is_struck or "underline" in drawn or "overline" in drawn or name in _LINED:
        look.lined = max(look.lined, look.size)


def _shades(
    element: Element, above: Look, tree: Tree, is_block: bool
) -> tuple[Shades, Shades]:
    """Return the colours in an element, in light and in dark mode."""
    name = element.name
    is_link = name == "a" and "href" in element.attributes
    colour = element.held["color"]
    back = element.held["background-color"]
    others = element.unsure.get("color", ())
    other_backs = element.unsure.get("background-color", ())
    if is_link and not colour:
        colour = tree.link_colour or LINK.written()
        others = (*others, tree.visited_colour)
    if name == "mark":
        colour = colour or "black"
        back = back or "yellow"
    # Buttons have colours of their own.
    if name == "button" and not colour:
        others = (*others, "black")
    if name == "button" and not back:
        other_backs = (*other_backs, "#efefef")

    # An element that floats may reach beyond the box around it.
    beside = (above.page_back, *above.around) if element.floats else ()
    if name not in ("table", "td", "th") and any(
        one > _WIDEST for one in _widths(element, 0.0, 0.0)
    ):
        # It may be wider than the boxes around it.
        beside = (*beside, *above.around)
    light = above.light
    dark = above.dark
    if name == "table" and not tree.sheets.is_standard:
        # In quirks mode, a table does not inherit colours and font sizes.
        light = light._replace(colours=(*light.colours, *above.page_colours))
        dark = dark._replace(colours=(*dark.colours, *above.page_colours))
    light = light.changed(name, is_block, beside, (colour, others), (back, other_backs))
    if not (tree.sheets.has_dark_mode or tree.sheets.has_dark_scheme):
        return light, light
    in_dark = element.dark or element
    dark_colour = in_dark.held["color"]
    if is_link and not dark_colour:
        link = _NIGHT_LINK if tree.sheets.has_dark_scheme else LINK
        dark_colour = tree.link_colour or link.written()
    elif name == "mark":
        dark_colour = dark_colour or colour
    dark = dark.changed(
        name,
        is_block,
        dark.outer_backs if element.floats else (),
        (dark_colour, in_dark.unsure.get("color", ())),
        (
            in_dark.held.get("background-color", back),
            in_dark.unsure.get("background-color", ()),
        ),
    )
    return light, dark


# Returns a font size in pixels. `above` is the size around the element.
def _size(value: str, above: float) -> float:
    if value in _KEYWORD_SIZES:
        return _KEYWORD_SIZES[value]
    if value in ("smaller", "larger"):
        return above * (0.83 if value == "smaller" else 1.2)
    size = length(value, above, above)
    return above if size is None else max(size, 0.0)


# Returns a line height. `above` is the one around the element.
def _line(value: str, size: float, above: LineHeight) -> LineHeight:
    if value in ("normal", "initial"):
        return _NORMAL
    if re.fullmatch(r"[0-9]{0,4}\.?[0-9]{1,6}", value):
        return LineHeight(share=float(value))
    pixels = length(value, size, size)
    return above if pixels is None else above._replace(pixels=pixels)


def around_of(element: Element, size: float) -> float:
    """Return how many pixels wide the left and right margins, borders and paddings of
    an element may be in all.
    """
    return sum(
        max(
            element.lengths(f"{box}-{side}{what}", size=size, whole=LARGEST_WINDOW),
            default=0.0,
        )
        for box, what in (("margin", ""), ("border", "-width"), ("padding", ""))
        for side in BESIDE
    )


def _rounded(element: Element) -> int | None:
    """Return how many letters fit between the round corners of an element's background;
    None for any number.
    """
    names = {
        name for name in (*element.held, *element.unsure) if name.endswith("radius")
    }
    parts = [
        one
        for name in names
        for value in element.all_of(name)
        for one in value.replace("/", " ").split()
    ]
    if any((length(one, whole=100) or 0.0) > 5 for one in parts if one.endswith("%")):
        return 3
    padding = min(
        element.pixels(f"padding-{side}") for side in ("top", "right", "bottom", "left")
    )
    # A box that is higher than a line has larger corners.
    most = 3 if element.held.keys() & {"height", "min-height"} else 40
    return (
        most
        if any((length(one) or 0.0) > 16 + 3.4 * padding for one in parts)
        else None
    )


def _inset(element: Element, size: float) -> float:
    """Return by how many pixels an element indents what is in it: by its style, by
    default (as lists do), and by the attributes of a table.
    """
    inset = around_of(element, size)
    if element.name == "table":
        for one in ("cellpadding", "cellspacing", "border"):
            inset += 2 * attribute_length(element.attributes[one])
    elif element.name in INDENTING or element.name == "fieldset":
        is_set = "margin-left" in element.held or "padding-left" in element.held
        inset += 0.0 if is_set else 40.0
    return inset


def _room(element: Element, above: Look, size: float) -> float | None:
    """Return how many pixels of width words have; None if no style sets a width. Table
    cells grow with their words.
    """
    name = element.name
    if name in ("td", "th") and above.is_fixed:
        return length(element.held["width"])
    if name in ("td", "th", "table"):
        return above.room
    widths = _widths(element, above.room or _WIDEST, _LARGE_SHARE)
    room = min(widths) if widths else above.room
    if room is None:
        return None
    taken_names = ("padding-left", "padding-right") if widths else _INSETS
    taken = sum(
        max(element.pixels(one, size), 0.0) for one in (*taken_names, "text-indent")
    )
    return room - taken - (40 if name in INDENTING else 0)


def _clip(element: Element, above: float | None) -> float | None:
    """Return the width of the narrowest box that cuts off what is wider; None if no box
    does. A box without a width counts as wide as a line.
    """
    if all(
        one == "visible"
        for name in ("overflow", "overflow-x")
        for one in element.all_of(name)
    ):
        return above
    return min([*_widths(element, above or _WIDEST, 1.0), above or _WIDEST])


def _widths(element: Element, whole: float, most: float) -> list[float]:
    """Return the widths that an element may have, in pixels. Percentages of `whole`
    from the share `most` on are left out: they have room for any word.
    """
    values = [one for name in ("width", "max-width") for one in element.all_of(name)]
    values = [
        one
        for one in values
        if not one.endswith("%") or (length(one, whole=1.0) or 0.0) < most
    ]
    return [
        pixels for one in values if (pixels := length(one, whole=whole)) is not None
    ]


def is_row(element: Element) -> bool:
    """Whether the children of an element may stand side by side."""
    rows = ("flex", "grid", "box", "table")
    return any(
        row in one
        for one in element.all_of("display")
        if one != "table-cell"
        for row in rows
    )
