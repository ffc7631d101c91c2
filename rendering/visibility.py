"""Works out, element by element, whether a recipient could see a piece of text, and in words why not.

Follows inheritance (colours, size, visibility) and the properties that hide a whole element. It errs towards "hidden":
text is never lost by that, only marked.
"""

import re
from dataclasses import dataclass, replace

from rendering.colours import INK, UNREADABLE, WHITE, Colour, contrast, first_colour, over, why_unreadable
from rendering.css_values import ROOT_SIZE, calls, is_sure, length
from rendering.html_reading import BLOCKS, TABLE_PARTS
from rendering.layout_boxes import (
    CUT,
    FAR,
    TINY,
    WINDOW,
    Style,
    box_reason,
    cuts,
    is_narrow,
    is_placed,
    pushed_in,
    scaling,
    shift,
)

_KEYWORD_SIZES = {
    "xx-small": 9.0,
    "x-small": 10.0,
    "small": 13.0,
    "medium": 16.0,
    "large": 18.0,
    "x-large": 24.0,
    "xx-large": 32.0,
}
_FONT_SIZE = re.compile(r"(?:^|\s)([0-9.]+(?:px|pt|em|rem|%|vw|vh|mm|cm|in)|0|smaller|larger)(?:\s?/\s?\S+)?\s")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+")
_BACKGROUNDS = ("background-color", "background", "background-image")
_GRADIENT = re.compile(r"gradient\(((?:[^()]|\([^()]*\))*)\)")
# These cancel a colour that was declared before.
_NO_COLOUR = frozenset("transparent none initial inherit unset revert revert-layer".split())
# Table cells keep what lies in them on their own background.
_CELLS = frozenset("table td th".split())
_BLOCK_DISPLAYS = ("block", "table", "list-item", "flow-root", "flex", "grid")
_BOXED = frozenset({"block", "inline-block", "table", "inline-table", "table-cell", "flex", "inline-flex", "flow-root"})


@dataclass(frozen=True, slots=True)
class Look:
    """How text at one position of the message would look to its recipient."""

    colour: Colour = INK
    background: Colour = WHITE
    size: float = ROOT_SIZE
    opacity: float = 1.0
    visible: bool = True
    reason: str = ""  # hides the whole element and all in it
    possible: str = ""  # hides it in some mail programs or windows
    text_fill: Colour | None = None  # what letters are painted with in place of their colour
    scale: float = 1.0
    shifted: float = 0.0
    cell_background: Colour = WHITE  # of the table cell, or else of the page, that this lies in
    is_too_narrow: bool = False  # in a box of no width, which it may overflow
    has_inline_background: bool = False  # the background is painted behind words only, not behind blocks
    line: float | None = None  # the height of a line in pixels, where the font size does not matter
    line_share: float = 1.2  # otherwise its height as a multiple of the font size
    is_one_line: bool = False
    is_struck: bool = False
    edge: float | None = None  # how far from its left side a box around it cuts off
    indent: float = 0.0  # how far into that box it begins

    def inside(self, style: Style, why: str = "", maybe: str = "") -> "Look":
        """Return the look inside an element with this style; `why` and `maybe` are reasons that are known already."""
        if not style and not why and not maybe:
            return self
        size = _font_size(style, self.size)
        shifted = self.shifted + shift(style, size)
        line, share = _line_height(style, size, self)
        away = "moved off screen" if shifted >= FAR else ""
        return replace(
            self,
            colour=_text_colour(style, self),
            text_fill=_fill(style, self.text_fill),
            background=_background(style, self.background),
            size=size,
            scale=self.scale * scaling(style),
            shifted=shifted,
            line=line,
            line_share=share,
            is_one_line=_is_one_line(style, self.is_one_line),
            edge=_edge(style, size) if cuts(style) else self.edge,
            indent=0.0 if cuts(style) else self.indent + pushed_in(style, size),
            opacity=self.opacity * _own_opacity(style, self.opacity),
            visible=_visible(style.get("visibility"), self.visible),
            reason=self.reason or why or box_reason(style, size) or away,
            possible=self.possible or maybe,
        )

    def in_doubt(self, tag: str, style: Style, why: str = "", maybe: str = "") -> "Look":
        """Return the worst case: a background counts only where it surely lies behind the text."""
        is_block = tag in BLOCKS or tag in TABLE_PARTS or style.get("display", "").startswith(_BLOCK_DISPLAYS)
        if not (style or why or maybe or tag in _CELLS or (is_block and self.has_inline_background)):
            return self
        look = self.inside(style, why, maybe)
        apart = is_placed(style) or style.get("float") in ("left", "right")
        # The background of a line's words is not the background of a box in that line.
        leaves_line = is_block or style.get("display", "").startswith("inline-")
        under = self.cell_background if apart or (self.has_inline_background and leaves_line) else self.background
        background = _background({n: v for n, v in style.items() if n in _BACKGROUNDS and is_sure(n, v)}, under)
        paints = background != under
        if paints and (style.get("display") == "contents" or _is_sliver(style, look.size)):
            background = under
        # A cell is as wide as what it holds.
        is_too_narrow = tag not in _CELLS and (self.is_too_narrow or is_narrow(style, look.size))
        holds = is_block or style.get("display", "") in _BOXED
        return replace(
            look,
            reason=look.reason or ("box of no size" if is_too_narrow and cuts(style) else ""),
            is_too_narrow=is_too_narrow,
            background=background,
            cell_background=background if tag in _CELLS else self.cell_background,
            has_inline_background=(self.has_inline_background and not is_block) or (paints and not holds),
        )

    def hides(self) -> str:
        """Return why text here cannot be seen; empty when it can be."""
        if self.reason:
            return self.reason
        if not self.visible:
            return "visibility: hidden"
        if self.opacity <= 0.1:
            return "no opacity"
        size = self.size * self.scale
        if size < TINY:
            return "font size 0" if size < 1 else "tiny font size"
        colour = over(self.text_fill or self.colour, self.background)
        return why_unreadable(colour, self.background) if contrast(colour, self.background) < UNREADABLE else ""

    def is_painted(self) -> bool:
        """Whether the box of an element is drawn, whatever its text looks like."""
        return not self.reason and self.visible and self.opacity > 0.1

    def is_crowded(self) -> str:
        """Return why text here may lie under other text, or beyond the edge of its box; empty where it does not."""
        if self.line_height() < CUT * self.size:
            return "lines drawn over each other"
        return "pushed out of its box" if self.edge is not None and self.indent > CUT * self.edge else ""

    def line_height(self) -> float:
        """Return how high a line of text is here, in pixels."""
        return self.line_share * self.size if self.line is None else self.line


def _line_height(style: Style, size: float, above: Look) -> tuple[float | None, float]:
    value = ""
    for name in reversed(list(style)):
        if name == "line-height":
            value = style[name]
            break
        if name == "font":
            value = style[name].partition("/")[2].split(" ")[0] if "/" in style[name] else "normal"
            break
    if value in ("normal", "initial"):
        return None, 1.2
    number = length(value, size, size)
    if number is None:
        return above.line, above.line_share
    return (None, number) if _NUMBER.fullmatch(value) else (number, above.line_share)


def _is_one_line(style: Style, above: bool) -> bool:
    value = style.get("white-space", "")
    return "nowrap" in value or value == "pre" if value else above


def _edge(style: Style, size: float) -> float:
    wide = (length(style.get(name, ""), size) for name in ("width", "max-width"))
    return min((w for w in wide if w), default=WINDOW)


def _text_colour(style: Style, look: Look) -> Colour:
    value = style.get("color", "")
    return first_colour(value) or look.colour if value and value != "currentcolor" else look.colour


def _fill(style: Style, inherited: Colour | None) -> Colour | None:
    value = style.get("-webkit-text-fill-color", "")
    if value in ("currentcolor", "initial"):
        return None
    return (first_colour(value) if value else None) or inherited


def _background(style: Style, background: Colour) -> Colour:
    """Return what lies behind the text: the colour declared last, and over it the first colour of a gradient.

    Background pictures are not loaded, by us nor by careful mail programs.
    """
    under = background
    for name in reversed(list(style)):
        plain = _GRADIENT.sub(" ", style[name]).strip() if name in ("background-color", "background") else None
        if plain in _NO_COLOUR:
            break
        if plain and (colour := first_colour(plain)):
            under = over(colour, background)
            break
    drawn = _GRADIENT.search(style.get("background-image") or style.get("background", ""))
    colour = first_colour(drawn.group(1)) if drawn else None
    return over(colour, under) if colour else under


def _is_sliver(style: Style, size: float) -> bool:
    """Whether an element is painted on a strip that is smaller than a line of its text."""
    sizes = (length(style.get(name, ""), size) for name in ("height", "max-height", "width", "max-width"))
    return any(pixels is not None and pixels < size for pixels in sizes)


def _font_size(style: Style, inherited: float) -> float:
    value = ""
    for name in reversed(list(style)):
        if name == "font-size" and style[name]:
            value = style[name]
            break
        if name == "font" and (found := _FONT_SIZE.search(style[name] + " ")):
            value = found.group(1)
            break
    if not value:
        return inherited
    if value in _KEYWORD_SIZES:
        return _KEYWORD_SIZES[value]
    if value.startswith(("smaller", "larger")):
        return inherited * (0.83 if value == "smaller" else 1.2)
    size = length(value, inherited, inherited)
    return inherited if size is None else max(0.0, size)


def _own_opacity(style: Style, above: float) -> float:
    value = style.get("opacity", "1")
    return (above if value == "inherit" else _share(value)) * _filter_opacity(style.get("filter", ""))


def _share(value: str) -> float:
    share = length(value, 1, 1)
    return 1.0 if share is None else max(0.0, min(1.0, share))


def _filter_opacity(value: str) -> float:
    for name, inside in calls(value):
        if name == "opacity":
            return _share(inside)
        if name == "blur" and (length(inside) or 0) >= 3:
            return 0.0
    return 1.0


def _visible(value: str | None, inherited: bool) -> bool:
    if value in ("hidden", "collapse"):
        return False
    return True if value == "visible" else inherited


def collapsed(tag: str, style: Style) -> str:
    """Return why a part of a table is not there at all; what is in it cannot be made visible again."""
    is_part = tag in TABLE_PARTS - {"td", "th", "caption"} or style.get("display", "").startswith("table-")
    return "visibility: collapse" if is_part and style.get("visibility") == "collapse" else ""


STRUCK = frozenset({"s", "strike", "del"})


def is_struck(tag: str, style: Style, above: bool) -> bool:
    """Whether text in an element has a line through it. It runs through all inside but boxes of their own."""
    is_apart = style.get("display", "").startswith("inline-") or is_placed(style) or floats(style)
    value = ""
    for name in reversed(list(style)):
        if name in ("text-decoration", "text-decoration-line"):
            value = style[name]
            break
    own = "line-through" in value if value else tag in STRUCK
    is_drawn = "transparent" not in value and style.get("text-decoration-color") != "transparent"
    return (own and is_drawn) or (above and not is_apart) or (above and value == "inherit")


def floats(style: Style) -> bool:
    """Whether an element floats to a side."""
    return style.get("float", "none") not in ("none", "initial", "unset")
