"""Works out, element by element, whether a recipient could see a piece of text, and in words why not.

Follows inheritance (colours, size, visibility) and the properties that hide a whole element. It errs towards "hidden":
text is never lost by that, only marked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from approvals.showing.colours import INK, UNREADABLE, WHITE, Colour, contrast, first_colour, how_alike, over

ROOT_SIZE = 16.0

# Anything moved this far out (in CSS pixels) is out of sight; nobody indents by so much.
FAR = 250.0
TINY = 4.0

_LENGTH = re.compile(
    r"(?<![\w.])(-?[0-9]{0,40}\.?[0-9]{1,40}(?:e[+-]?[0-9]{1,2})?)"
    r"(px|pt|pc|em|rem|ex|ch|%|vw|vh|vmin|vmax|cm|mm|in|q)?(?![\w%])"
)
_UNITS = {"px": 1, "": 1, "pt": 4 / 3, "pc": 16, "cm": 37.8, "mm": 3.78, "in": 96, "q": 0.945}
_FRACTIONS = {"em": 1, "rem": 1, "ex": 0.5, "ch": 0.5}
_KEYWORD_SIZES = {
    "xx-small": 9.0,
    "x-small": 10.0,
    "small": 13.0,
    "medium": 16.0,
    "large": 18.0,
    "x-large": 24.0,
    "xx-large": 32.0,
}
_FONT_SIZE = re.compile(r"(?:^|\s)([0-9.]+(?:px|pt|em|rem|%|vw|vh|mm|cm|in)|0)(?:/\S+)?\s")
_CALL = re.compile(r"([a-z0-9-]+)\(([^()]{0,300})\)")

Style = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Look:
    """How text at one place of the letter would look to its recipient."""

    colour: Colour = INK
    ground: Colour = WHITE
    size: float = ROOT_SIZE
    opacity: float = 1.0
    visible: bool = True
    reason: str = ""  # hides the whole element and all in it
    possible: str = ""  # hides it in some mail programs or windows

    def inside(self, style: Style, why: str = "", maybe: str = "") -> "Look":
        """Return the look inside an element with this style; `why` and `maybe` are reasons known beforehand."""
        if not style and not why and not maybe:
            return self
        size = _font_size(style, self.size)
        return replace(
            self,
            colour=_text_colour(style, self),
            ground=_ground(style, self.ground),
            size=size,
            opacity=self.opacity * _share(style.get("opacity", "1")) * _filter_opacity(style.get("filter", "")),
            visible=_visible(style.get("visibility"), self.visible),
            reason=self.reason or why or box_reason(style, size),
            possible=self.possible or maybe,
        )

    def hides(self) -> str:
        """Return why text here cannot be seen; empty when it can be."""
        if self.reason:
            return self.reason
        if not self.visible:
            return "visibility: hidden"
        if self.opacity <= 0.1:
            return "no opacity"
        if self.size < TINY:
            return "font size 0" if self.size < 1 else "tiny font size"
        colour = over(self.colour, self.ground)
        return how_alike(colour, self.ground) if contrast(colour, self.ground) < UNREADABLE else ""


def length(value: str, size: float = ROOT_SIZE, whole: float = 600.0) -> float | None:
    """Return the first length in `value` in pixels; `whole` is what a percentage is of. None when there is none."""
    found = _LENGTH.search(value)
    if not found:
        return None
    number, unit = float(found.group(1)), found.group(2) or ""
    if unit in _UNITS:
        return number * _UNITS[unit]
    if unit in _FRACTIONS:
        return number * _FRACTIONS[unit] * (ROOT_SIZE if unit == "rem" else size)
    return number / 100 * (whole if unit == "%" else 800.0)


def box_reason(style: Style, size: float = ROOT_SIZE) -> str:
    """Return why an element with this style, and everything in it, cannot be seen; empty when it can be."""
    if not style:
        return ""
    if style.get("display", "").startswith("none") or style.get("content-visibility") == "hidden":
        return "display: none"
    if style.get("mso-hide") == "all":
        return "hidden from Outlook"
    if style.get("zoom") and length(style["zoom"], 1, 1) == 0:
        return "scaled to nothing"
    if style.get("-webkit-text-security", "none") != "none":
        return "letters drawn as dots"
    spacing = length(style.get("letter-spacing", ""), size, size)
    if spacing is not None and spacing < -0.35 * max(size, 1):
        return "letters pushed over each other"
    return _moved_away(style, size) or _cut_away(style, size)


def _moved_away(style: Style, size: float) -> str:
    indent = length(style.get("text-indent", ""), size)
    if indent is not None and not -FAR < indent < 2000:
        return "moved off screen"
    for side in ("margin-left", "margin-top", "margin-right", "margin"):
        if any(number <= -FAR for number in _lengths(style.get(side, ""), size)):
            return "moved off screen"
    if style.get("position") in ("absolute", "fixed", "relative"):
        for side in ("left", "top", "right", "bottom", "inset"):
            if any(not -FAR < number < 2000 for number in _lengths(style.get(side, ""), size)):
                return "moved off screen"
        if style.get("z-index", "").startswith("-"):
            return "laid behind its surroundings"
    for name, inside in _CALL.findall(style.get("transform", "")):
        if name.startswith("translate") and any(not -FAR < n < 2000 for n in _lengths(inside, size)):
            return "moved off screen"
        if name.startswith("scale") and any(abs(n) < 0.1 for n in _lengths(inside, 1)):
            return "scaled to nothing"
        if name in ("rotatex", "rotatey") and re.match(r"-?(?:90|270)deg", inside):
            return "turned on edge"
    if any(not -FAR < number < 2000 for number in _lengths(style.get("translate", ""), size)):
        return "moved off screen"
    if any(abs(number) < 0.1 for number in _lengths(style.get("scale", ""), 1)):
        return "scaled to nothing"
    return ""


def _cut_away(style: Style, size: float) -> str:
    cuts = any(style.get(name, "visible")[:6] in ("hidden", "clip", "scroll", "auto") for name in _OVERFLOWS)
    if cuts:
        for side in ("height", "max-height", "width", "max-width"):
            room = length(style.get(side, ""), size)
            if room is not None and room <= TINY and not _padded(style, size):
                return "box of no size"
    clip = style.get("clip", "")
    if clip.startswith("rect") and style.get("position") in ("absolute", "fixed"):
        edges = _lengths(clip, size)
        if edges and max(edges) - min(edges) <= TINY:
            return "clipped away"
    for name, inside in _CALL.findall(style.get("clip-path", "")):
        numbers = _lengths(inside, size, 100.0)
        if name == "inset" and numbers and max(numbers) >= 50:
            return "clipped away"
        if name in ("circle", "ellipse") and numbers and numbers[0] <= TINY:
            return "clipped away"
        if name == "polygon" and numbers and max(numbers) - min(numbers) <= TINY:
            return "clipped away"
    return ""


_OVERFLOWS = ("overflow", "overflow-x", "overflow-y")


def _padded(style: Style, size: float) -> bool:
    """Padding gives a box of no height room to show a line all the same."""
    numbers = [n for name in ("padding", "padding-top", "padding-bottom") for n in _lengths(style.get(name, ""), size)]
    return bool(numbers) and max(numbers) > TINY


def _lengths(value: str, size: float, whole: float = 600.0) -> list[float]:
    found = [length(part, size, whole) for part in re.split(r"[\s,()+]+", value)] if value else []
    return [number for number in found if number is not None]


def _text_colour(style: Style, look: Look) -> Colour:
    value = style.get("-webkit-text-fill-color") or style.get("color", "")
    return first_colour(value) or look.colour if value and value != "currentcolor" else look.colour


def _ground(style: Style, ground: Colour) -> Colour:
    """Background pictures are not loaded, by us nor by careful mail programs: what counts is the colour behind."""
    for name in ("background-color", "background", "background-image"):
        colour = first_colour(style.get(name, ""))
        if colour is not None and colour[3] > 0:
            return over(colour, ground)
    return ground


def _font_size(style: Style, inherited: float) -> float:
    value = style.get("font-size", "")
    if not value and "font" in style:
        found = _FONT_SIZE.search(style["font"] + " ")
        value = found.group(1) if found else ""
    if not value:
        return inherited
    if value in _KEYWORD_SIZES:
        return _KEYWORD_SIZES[value]
    if value.startswith(("smaller", "larger")):
        return inherited * (0.83 if value == "smaller" else 1.2)
    size = length(value, inherited, inherited)
    return inherited if size is None else max(0.0, size)


def _share(value: str) -> float:
    share = length(value, 1, 1)
    return 1.0 if share is None else max(0.0, min(1.0, share))


def _filter_opacity(value: str) -> float:
    for name, inside in _CALL.findall(value):
        if name == "opacity":
            return _share(inside)
        if name == "blur" and (length(inside) or 0) >= 3:
            return 0.0
        if name == "alpha" and re.search(r"opacity=0(?![\d.])", inside):
            return 0.0
    return 1.0


def _visible(value: str | None, inherited: bool) -> bool:
    if value in ("hidden", "collapse"):
        return False
    return True if value == "visible" else inherited
