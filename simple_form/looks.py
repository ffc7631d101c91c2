"""How words look at each place of a message, followed from the page inwards through all values that may hold."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from simple_form.colours import BLACK, LINK, READABLE, UNREADABLE, WHITE, Colour, colour_of, contrast, over
from simple_form.elements import Element, Styled, Tree
from simple_form.harmless import ROOT_SIZE, length
from simple_form.style_sheets import Declaration

BESIDE = ("left", "right")
INDENTING = frozenset("blockquote dd ol ul dir menu".split())
# What each is drawn larger or smaller by.
SCALES = {
    "h1": 2.0, "h2": 1.5, "h3": 1.17, "h5": 0.83, "h6": 0.67, "small": 0.83, "big": 1.2, "sub": 0.83, "sup": 0.83,
    "code": 0.8125, "pre": 0.8125, "tt": 0.8125, "kbd": 0.8125, "samp": 0.8125,
}  # fmt: skip
_KEYWORD_SIZES = {
    "xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": 16.0, "large": 18.0, "x-large": 24.0, "xx-large": 32.0,
}  # fmt: skip
NO_COLOUR = frozenset(("", "inherit", "currentcolor", "unset", "none", "initial", "transparent"))
# The background of a page in dark mode.
_NIGHT = Colour(0.07, 0.07, 0.07)
MOST_COLOURS = 6
# Smaller letters cannot be read by anybody; lines lower than this share of their letters lie over each other.
_TINY, _CROWDED = 6.0, 0.9
# Less opaque than this, or so many pixels from the edge, words are not seen.
_PALE, _FAR = 0.35, 450.0
# How wide a line is where nothing says so.
_WIDEST = 300.0
_WIDTHS = ("width", "max-width")
_INSETS = tuple(f"{box}-{side}" for box in ("margin", "padding") for side in BESIDE)


class Look(NamedTuple):
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
    indented: int = 0
    raised: int = 0
    spread: float = 0.0
    is_flex: bool = False
    # How an align attribute, which tables do not inherit, aligns words and tables.
    aligned: str = ""
    # Nothing in it is displayed.
    is_gone: bool = False
    opacity: float = 1.0
    # How far in from the left and right edges it begins.
    inset: float = 0.0
    # What is behind the table that it lies in.
    outer_backs: tuple[Colour, ...] = (WHITE,)

    def is_lost_outside(self) -> bool:
        """Whether words could not be read beside the box they are in, so that they need its background themselves."""
        colour, back = self.written
        return any(contrast(colour, one) < READABLE for one in self.around if one != back)

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


def look_of_page(tree: Tree) -> Look:
    """Return how words look where the message has no style."""
    return Look(dark_colours=(WHITE,), dark_backs=(_NIGHT,)) if tree.has_dark_scheme else Look()


def look_of(element: Element, name: str, above: Look, tree: Tree, *, is_block: bool) -> Look:
    """Return how words in an element look, from how they look around it."""
    styled = element.styled
    held = styled.held
    size = above.size * SCALES.get(name, 1.0)
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
    least = min([size if "font-size" in held else above.least * SCALES.get(name, 1.0), *sizes])
    is_link = name == "a" and "href" in element.attributes
    colour, back = held.get("color", ""), held.get("background-color", "")
    if is_link and not colour:
        colour = tree.link_colour or LINK.written()
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
    if tree.has_dark_mode or tree.has_dark_scheme:
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
        room=_room(styled, name, above, size),
        is_fixed=held.get("table-layout") == "fixed" if name == "table" else above.is_fixed,
        is_right_to_left=held.get("direction", "rtl" if above.is_right_to_left else "") == "rtl",
        clip=_clip(styled, above.clip),
        is_one_line=_is_one_line(held, above),
        keeps_blanks=held.get("white-space", "").startswith("pre")
        or (above.keeps_blanks and "white-space" not in held),
        opacity=above.opacity * (length(f"{held.get('opacity', '1')}px") or 1.0),
        inset=above.inset + sum(max(length(held.get(one, "")) or 0.0, 0.0) for one in _INSETS),
        outer_backs=above.block_backs if name == "table" else above.outer_backs,
        indented=above.indented + (name in INDENTING),
        raised=above.raised + (name in ("sub", "sup")),
        aligned=_aligned(element, above, name),
        is_gone=above.is_gone or held.get("display") == "none" or "hidden" in element.attributes,
        is_flex="flex" in held.get("display", "") or "grid" in held.get("display", ""),
    )


def _size(value: str, above: float) -> float:
    if value in _KEYWORD_SIZES:
        return _KEYWORD_SIZES[value]
    if value in ("smaller", "larger"):
        return above * (0.83 if value == "smaller" else 1.2)
    size = length(value, above, above)
    return above if size is None else max(size, 0.0)


def _line(value: str, size: float, above: Look) -> tuple[float | None, float]:
    if value in ("normal", "initial"):
        return None, 1.2
    if re.fullmatch(r"[0-9]{0,4}\.?[0-9]{1,6}", value):
        return None, float(value)
    pixels = length(value, size, size)
    return (above.line, above.line_share) if pixels is None else (pixels, above.line_share)


def _is_crowded(size: float, line: float | None, share: float) -> bool:
    """Whether lines of this height, in pixels or as a share of the size, lie over each other."""
    return (share * size if line is None else line) < _CROWDED * size


def _values(declared: Sequence[Declaration]) -> Callable[[str], tuple[str, ...]]:
    return lambda name: tuple(one.value for one in declared if one.name == name)


def _colours(above: tuple[Colour, ...], value: str, unsure: Iterable[str]) -> tuple[Colour, ...]:
    sure = (
        BLACK if value == "initial" else colour_of(value) if value not in NO_COLOUR or value == "transparent" else None
    )
    others = (colour_of(one) for one in unsure)
    found = ((sure,) if sure is not None else above) + tuple(one for one in others if one is not None)
    return tuple(dict.fromkeys(found))


def _backs(above: tuple[Colour, ...], value: str, unsure: Iterable[str]) -> tuple[Colour, ...]:
    sure = None if value in NO_COLOUR else colour_of(value)
    found = tuple(over(sure, one) for one in above) if sure is not None else above
    for one in unsure:
        other = colour_of(one)
        if other is not None and other.alpha:
            found += tuple(over(other, back) for back in above[:MOST_COLOURS])
    return tuple(dict.fromkeys(found))


def _is_one_line(held: Mapping[str, str], above: Look) -> bool:
    white_space, wraps = held.get("white-space", ""), held.get("text-wrap", held.get("text-wrap-mode", ""))
    if wraps == "nowrap" or white_space in ("nowrap", "pre"):
        return True
    return above.is_one_line and white_space in ("", "inherit") and wraps in ("", "inherit")


def _aligned(element: Element, above: Look, name: str) -> str:
    align = element.styled.held.get("text-align")
    if align is None:
        return "" if name == "table" else above.aligned
    is_old = name == "center" or element.attributes.get("align", "").strip().lower() == align
    return align if is_old else ""


def _room(styled: Styled, name: str, above: Look, size: float) -> float | None:
    """Return how much room words have in pixels, where it is said; a cell is as wide as what is in it."""
    held = styled.held
    if name in ("td", "th") and above.is_fixed:
        return length(held.get("width", ""))
    if name in ("td", "th", "table"):
        return above.room
    widths = _pixels(_WIDTHS, [*held.items(), *((one.name, one.value) for one in styled.unsure)])
    room = min(widths) if widths else above.room
    if room is None:
        return None
    inside = ("padding-left", "padding-right") if widths else _INSETS
    lost = sum(max(length(held.get(one, ""), size) or 0.0, 0.0) for one in (*inside, "text-indent"))
    return room - lost - (40 if name in INDENTING else 0)


def _clip(styled: Styled, above: float | None) -> float | None:
    """Return how wide the narrowest box is that cuts off what is wider; where it does not say so, as wide as a line."""
    declared = [*styled.held.items(), *((one.name, one.value) for one in styled.unsure)]
    if all(value == "visible" for name, value in declared if name in ("overflow", "overflow-x")):
        return above
    return min([*_pixels(_WIDTHS, declared), above or _WIDEST])


def _pixels(names: Iterable[str], declared: Iterable[tuple[str, str]]) -> list[float]:
    return [pixels for name, value in declared if name in names and (pixels := length(value)) is not None]
