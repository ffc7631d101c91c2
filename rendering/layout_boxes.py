"""Says why the box of an element, and everything in it, cannot be seen: not displayed, moved away, cut away, masked."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rendering.css_values import ROOT_SIZE, angles, calls, length, lengths

# Anything moved this far out (in CSS pixels) is out of sight; nobody indents by so much.
FAR = 250.0
FAR_ON = 2000.0
TINY = 4.0
WIDE_APART = 100.0
# A narrow window, and a character's width as a share of its height.
WINDOW = 320.0
CHARACTER_WIDTH = 0.6
# Below this share of a line's height, or of itself, nothing can be read any more.
CUT = 0.6
SMALL = 0.25


Style = Mapping[str, str]


def is_placed(style: Style) -> bool:
    """Whether an element is positioned apart from the text around it."""
    return style.get("position") in ("absolute", "fixed")


def box_reason(style: Style, size: float = ROOT_SIZE) -> str:
    """Return why an element with this style, and everything in it, cannot be seen; empty when it can be."""
    if not style:
        return ""
    if _UNDISPLAYED & set(style.get("display", "").split()) or style.get("content-visibility") == "hidden":
        return "display: none"
    if style.get("mso-hide") == "all":
        return "hidden from Outlook"
    if style.get("zoom") and length(style["zoom"], 1, 1) == 0:
        return "scaled to nothing"
    if style.get("-webkit-text-security", "none") != "none":
        return "letters shown as dots"
    spacing = length(style.get("letter-spacing", ""), size, size)
    if spacing is not None and spacing < -0.35 * max(size, 1):
        return "letters pushed over each other"
    if (spacing or 0) > WIDE_APART or (length(style.get("word-spacing", ""), size, size) or 0) > FAR_ON / 2:
        return "letters far apart"
    return _moved_away(style, size) or _turned(style) or _cut_away(style, size) or _painted_out(style)


def shift(style: Style, size: float) -> float:
    """Return how far an element is moved to the left and up, in pixels."""
    names = ["margin-left", "margin-top"]
    if style.get("position") in ("absolute", "fixed", "relative"):
        names += ["left", "top"]
    pulled = [min(length(style.get(name, ""), size) or 0.0, 0.0) for name in names]
    margins = lengths(style.get("margin", ""), size)
    if margins:
        pulled.append(min(margins[0], margins[-1] if len(margins) == 4 else margins[0], 0.0))
    return -sum(pulled)


def scaling(style: Style) -> float:
    """Return by how much an element and all in it is drawn larger or smaller."""
    zoom = length(style["zoom"], 1, 1) if style.get("zoom") else None
    scales = [
        n
        for name, inside in calls(style.get("transform", ""))
        if name.startswith("scale")
        for n in lengths(inside, 1, 1)
    ]
    scales += lengths(style.get("scale", ""), 1, 1)
    return (1.0 if zoom is None else abs(zoom)) * min([1.0, *map(abs, scales)])


def is_narrow(style: Style, size: float) -> bool:
    """Whether a box is too narrow for a single character."""
    return any(_is_too_small(style.get(name, ""), size) for name in ("width", "max-width"))


def _is_too_small(value: str, size: float) -> bool:
    """Whether no character fits. The base of a percentage is not known, so its number counts as pixels."""
    pixels = length(value, size)
    return pixels is not None and pixels <= (TINY if value.endswith("%") else max(TINY, CUT * size))


def pushed_in(style: Style, size: float) -> float:
    """Return how far the text of an element begins from the left edge of the one around it, in pixels."""
    found = [
        length(style.get(name, ""), size) for name in ("margin-left", "padding-left", "text-indent", "border-left")
    ]
    sides = [lengths(style.get(name, ""), size) for name in ("margin", "padding")]
    found += [numbers[3] if len(numbers) > 3 else numbers[min(1, len(numbers) - 1)] for numbers in sides if numbers]
    return sum(number for number in found if number is not None and number > 0)


@dataclass(slots=True, eq=False)
class Capacity:
    """How many characters a box certainly shows: `row` in one line, `letters` in all; `used` by its other content."""

    letters: float
    row: float
    line: float
    cuts: bool
    is_one_line: bool
    is_low: bool  # not as high as what may be in it
    used: float = 0.0

    def block(self, style: Style, size: float, *, breaks: bool) -> None:
        """Count an element inside of the box: its own heights, and the line that it begins."""
        names = ("height", "min-height", "padding-top", "margin-top", "border-top")
        high = sum(n for name in names if (n := length(style.get(name, ""), size)) and n > 0)
        high += sum(max(n, 0.0) for name in ("margin", "padding") for n in lengths(style.get(name, ""), size)[:1])
        self.used += self.row * ((high / max(self.line, 1.0)) + breaks) * self.is_low
        if self.is_one_line:
            wide = [length(style.get(name, ""), size) or 0.0 for name in ("width", "min-width", "flex-basis")]
            self.used += (max(wide) + pushed_in(style, size)) / (CHARACTER_WIDTH * max(size, TINY))


def capacity_of(style: Style, size: float, line: float, *, is_one_line: bool, is_inline: bool) -> Capacity | None:
    """Return how many characters certainly fit into an element's box; None where nothing limits them.

    A low estimate: it assumes a narrow window and wide characters.
    """
    if _LIMITING.isdisjoint(style):
        return None
    cutting = cuts(style)
    clamped = length(style.get("-webkit-line-clamp", ""), 1, 1)
    heights = [length(style[name], size) for name in ("height", "max-height") if _is_fixed(style.get(name, ""))]
    rows = [(h // max(line, 1.0)) or float(h >= CUT * size) for h in heights if h is not None]
    rows += [clamped] if clamped else []
    is_low, is_one_line = bool(rows), is_one_line or (cutting and "flex" in style.get("display", ""))
    has_width = any(length(style.get(name, ""), size) is not None for name in ("width", "max-width"))
    if is_one_line and (cutting or (is_inline and has_width)):
        rows.append(1)
    elif is_inline and is_narrow(style, 2 * size):
        rows.append(0)
    if not rows:
        return None
    wide = [length(style[name], size, WINDOW) for name in ("width", "max-width") if style.get(name)]
    width = min([w for w in wide if w is not None] + [WINDOW])
    row = 0.9 * width / (CHARACTER_WIDTH * max(size, TINY))
    return Capacity(min(rows) * row, row, line, cutting, is_one_line, is_low)


def _is_fixed(value: str) -> bool:
    return bool(value) and not value.endswith(("%", "vh", "vw"))


def _moved_away(style: Style, size: float) -> str:
    indent = length(style.get("text-indent", ""), size)
    if indent is not None and not -FAR < indent < (500 if cuts(style) else FAR_ON):
        return "moved off screen"
    moves = ["margin-left", "margin-top", "margin-right", "margin"]
    if style.get("position") in ("absolute", "fixed", "relative"):
        moves += ["left", "top", "right", "bottom", "inset"]
    if any(_is_far(lengths(style.get(name, ""), size)) for name in moves):
        return "moved off screen"
    if any(n >= FAR_ON for side in _FRAMES for n in lengths(style.get(side, ""), size)):
        return "moved off screen"
    if (length(style.get("line-height", ""), size, size) or 0) > 500:
        return "moved off screen"
    aside = length(style.get("vertical-align", ""), size, size)
    if (aside is not None and abs(aside) >= FAR) or any(style.get(n, "none") != "none" for n in _PATHS):
        return "moved off screen"
    if style.get("z-index", "").startswith("-") and style.get("position") in ("absolute", "fixed", "relative"):
        return "laid behind its surroundings"
    for name, inside in calls(style.get("transform", "")):
        numbers = lengths(inside, size)
        if _is_far(numbers if name.startswith("translate") else numbers[4:] if name == "matrix" else []):
            return "moved off screen"
    return "moved off screen" if _is_far(lengths(style.get("translate", ""), size)) else ""


def _is_far(moves: Iterable[float]) -> bool:
    return any(not -FAR < number < FAR_ON for number in moves)


def _turned(style: Style) -> str:
    """Return why nothing can be read: turned on edge, or drawn too small."""
    for name, inside in calls(style.get("transform", "")):
        numbers = lengths(inside, 1)
        if name.startswith("scale") and any(abs(n) < 0.1 for n in numbers):
            return "scaled to nothing"
        flat = numbers[0:6:5] if name == "matrix3d" else [math.hypot(*numbers[i : i + 2]) for i in (0, 2)]
        if name.startswith("matrix") and len(numbers) > 3 and min(map(abs, flat)) < SMALL:
            return "scaled to nothing"
        edge = name in ("rotatex", "rotatey", "skew", "skewx", "skewy") or (name == "rotate3d" and any(numbers[:2]))
        if edge and _is_on_edge(inside):
            return "turned on edge"
    if any(abs(number) < 0.1 for number in lengths(style.get("scale", ""), 1)):
        return "scaled to nothing"
    rotated = style.get("rotate", "").split()
    return "turned on edge" if len(rotated) > 1 and rotated[0] != "z" and _is_on_edge(rotated[-1]) else ""


def _is_on_edge(inside: str) -> bool:
    """Whether an element that is turned by this angle shows only its edge."""
    return any(abs(math.cos(angle)) < SMALL for angle in angles(inside))


def cuts(style: Style) -> bool:
    """Whether what is larger than the box of an element is cut off."""
    return any(set(style.get(name, "").split()) & _CUTTING for name in _OVERFLOWS)


def _cut_away(style: Style, size: float) -> str:
    least = max(TINY, CUT * size)
    if cuts(style):
        for side in ("height", "max-height", "width", "max-width"):
            if _is_too_small(style.get(side, ""), size) and not _padded(style, size):
                return "box of no size"
    contained = set(style.get("contain", "").split())
    if "strict" in contained or ("size" in contained and (cuts(style) or "paint" in contained)):
        return "box of no size"
    clip = style.get("clip", "")
    if clip.startswith("rect") and is_placed(style):
        edges = lengths(clip, size)
        if edges and max(edges) - min(edges) <= TINY:
            return "clipped away"
        if len(edges) == 4 and min(edges[2] - edges[0], edges[1] - edges[3], edges[2], edges[1]) <= least:
            return "clipped away"
    return "clipped away" if _is_clipped(style.get("clip-path", ""), size) else ""


def _is_clipped(value: str, size: float) -> bool:
    """Whether a path leaves less than all of its box, but for rounded corners and whole circles."""
    if value == "picture":
        return True
    for name, inside in calls(value):
        numbers = lengths(inside, size, 100.0)
        if name == "inset":
            clipped = bool(numbers) and max(numbers) >= 10
        elif name in ("circle", "ellipse"):
            clipped = " at " in inside or (bool(numbers) and numbers[0] < 40)
        else:
            clipped = name != "polygon" or _area(numbers) < 5000
        if clipped:
            return True
    return False


def _area(numbers: list[float]) -> float:
    """Return what a polygon of these corners covers of a box of 100 by 100."""
    corners = list(zip(numbers[::2], numbers[1::2], strict=False))
    pairs = zip(corners, [*corners[1:], *corners[:1]], strict=True)
    return abs(sum(x * down - across * y for (x, y), (across, down) in pairs)) / 2


def _painted_out(style: Style) -> str:
    if any(style.get(name, "none") not in ("none", *_WIDE) for name in _MASKS):
        return "drawn through a mask"
    if style.get("mix-blend-mode", "normal") in _FADING:
        return "blended into its ground"
    for name, inside in calls(style.get("filter", "")):
        by = length(inside, 1, 1)
        low, high = _RECOLOURED.get(name, (-math.inf, math.inf))
        if by is not None and not low < by < high:
            return "recoloured by a filter"
    return "letters of no height" if length(style.get("font-size-adjust", ""), 1, 1) == 0 else ""


_UNDISPLAYED = frozenset({"none", "table-column", "table-column-group"})
_FRAMES = (
    *("padding-left", "padding-top", "padding", "border", "border-left", "border-top"),
    *("border-width", "border-left-width", "border-top-width"),
)
_PATHS = ("offset", "offset-path")
_OVERFLOWS = ("overflow", "overflow-x", "overflow-y")
_CUTTING = frozenset("hidden clip scroll auto".split())
_LIMITING = frozenset({"height", "max-height", "width", "max-width", "-webkit-line-clamp", *_OVERFLOWS})
_WIDE = ("initial", "inherit", "unset")
_MASKS = ("mask", "mask-image", "-webkit-mask", "-webkit-mask-image")
# Dark text on white disappears in these.
_FADING = frozenset("screen overlay lighten color-dodge soft-light difference exclusion hue saturation color".split())
# Between these values a filter leaves text readable.
_RECOLOURED = {"brightness": (0.2, 3.0), "contrast": (0.2, math.inf), "invert": (-math.inf, 0.3)}


def _padded(style: Style, size: float) -> bool:
    """Whether padding makes a box without height high enough to show a line."""
    around = lengths(style.get("padding", ""), size)
    paddings = [around[0], around[2] if len(around) > 2 else around[0]] if around else []
    paddings += [n for name in ("padding-top", "padding-bottom") for n in lengths(style.get(name, ""), size)]
    return bool(paddings) and max(paddings) > CUT * size


def margin(style: Style, side: str, size: float, box: str = "margin") -> float:
    """Return the margin, or the padding, of an element on one side."""
    own = length(style.get(f"{box}-{side}", ""), size)
    if own is not None:
        return own
    words = style.get(box, "").split()
    if not words:
        return 0.0
    # Of fewer than four values the left takes the right's, the bottom the top's, and one is for all.
    at = {"top": (0, 0, 0, 0), "right": (0, 1, 1, 1), "bottom": (0, 0, 2, 2), "left": (0, 1, 1, 3)}[side]
    return length(words[at[min(len(words), 4) - 1]], size) or 0.0


def left_inset(style: Style, size: float) -> float:
    return margin(style, "left", size) + max(margin(style, "left", size, "padding"), 0.0)


def is_transformed(style: Style, size: float, slight: float) -> bool:
    for name, inside in calls(style.get("transform", "")):
        numbers = lengths(inside, size)
        if name.startswith("translate") and any(abs(n) > slight for n in numbers):
            return True
        if name.startswith("rotate") and _is_turned(inside):
            return True
        if name.startswith("scale") and any(not 0 <= n <= 1.5 for n in lengths(inside, 1, 1)):
            return True
        if name.startswith(("matrix", "skew")) and any(numbers):
            return True
    if any(abs(n) > slight for n in lengths(style.get("translate", ""), size)):
        return True
    return _is_turned(style.get("rotate", "")) or any(not 0 <= n <= 1.5 for n in lengths(style.get("scale", ""), 1, 1))


def _is_turned(value: str) -> bool:
    return any(abs((math.degrees(angle) + 180) % 360 - 180) > 20 for angle in angles(value))
