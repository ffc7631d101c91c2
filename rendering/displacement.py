"""Says why an element is drawn elsewhere than where it is written, or in another direction."""

import math
import re
import unicodedata

from rendering.arithmetic import length, lengths
from rendering.boxes import Style
from rendering.layout_tree import Box, cut_text

# Of the size of its letters, how far text may be moved before it can lie beside other words.
SLIGHT = 0.35
_CALL = re.compile(r"(?<![a-z0-9-])([a-z0-9-]{1,40})\(([^()]{0,300})\)")
_ANGLE = re.compile(r"(-?[0-9]{0,20}\.?[0-9]{1,20})(deg|turn|grad|rad)")
_DEGREES = {"deg": 1.0, "turn": 360.0, "grad": 0.9, "rad": 180 / math.pi}
EDGES = ("left", "right", "top", "bottom", "inset")


def displaced(box: Box) -> str:
    """Return why an element is drawn elsewhere than where it is written; empty where it is not."""
    style, slight = box.style, SLIGHT * box.size
    position = style.get("position", "static")
    if position in ("absolute", "fixed"):
        return "put in a place of its own"
    if position.endswith("sticky") and any(lengths(style.get(side, ""), box.size) for side in EDGES):
        return "moved from its place"
    above = box.above.drift if box.above else 0.0
    if box.drift > slight and box.drift > above:
        return "moved from its place" if position == "relative" else "pulled over its surroundings"
    indent = length(style.get("text-indent", ""), box.size) or 0.0
    if min(box.inset, box.inset + indent) < -2 and (indent < 0 or left_inset(style, box.size) < 0):
        return "pulled to the left"
    if (not box.is_block or box.floats or box.is_item) and min(
        margin(style, side, box.size) for side in ("left", "right")
    ) < -slight:
        return "pulled over its surroundings"
    if style.get("writing-mode", "horizontal-tb") not in (
        "horizontal-tb",
        "lr-tb",
        "lr",
        "initial",
        "inherit",
        "unset",
    ):
        return "written downwards"
    return "moved or turned" if _is_transformed(style, box.size, slight) else ""


def is_pulled_out(box: Box) -> bool:
    """Whether an element may be drawn beyond the left or upper edge of the page, or turned: it shows that alone."""
    style, size = box.style, box.size
    moves = [length(style.get(side, ""), size) or 0.0 for side in ("left", "top")] + lengths(
        style.get("inset", ""), size
    )
    moves += [-(length(style.get(side, ""), size) or 0.0) for side in ("right", "bottom")]
    moves += [margin(style, "left", size), margin(style, "top", size), *lengths(style.get("translate", ""), size)]
    if style.get("position") in ("absolute", "fixed"):
        moves += [length(style.get(side, ""), size) or 0.0 for side in ("right", "bottom")]
    is_turned = "transform" in style or "rotate" in style or "scale" in style or "writing-mode" in style
    return is_turned or min(moves) < -SLIGHT * size or box.inset < 0 or "text-indent" in style


def turned(box: Box) -> str:
    """Return why the words of an element are drawn from right to left though they are not written that way."""
    if "override" in box.style.get("unicode-bidi", ""):
        return "text turned round" if box.is_rtl or is_rtl(cut_text(box)) else ""
    turns = box.is_rtl and not (box.above and box.above.is_rtl)
    return "right to left" if turns and box.words > 1 and box.rtl_words * 2 < box.words else ""


def is_rtl(text: str) -> bool:
    return any(unicodedata.bidirectional(c) in ("R", "AL") for c in text)


def is_placed(style: Style) -> bool:
    return style.get("position") in ("absolute", "fixed")


def margin(style: Style, side: str, size: float) -> float:
    own = length(style.get(f"margin-{side}", ""), size)
    if own is not None:
        return own
    sides = lengths(style.get("margin", ""), size)
    if not sides:
        return 0.0
    place = {"top": 0, "right": 1, "bottom": 2, "left": 3}[side]
    words = style["margin"].split()
    at = (place, place % 2, place if place < len(words) else 1, place)[min(len(words), 4) - 1] if len(words) > 1 else 0
    return length(words[min(at, len(words) - 1)], size) or 0.0


def left_inset(style: Style, size: float) -> float:
    padding = length(style.get("padding-left", ""), size)
    if padding is None:
        words = style.get("padding", "").split()
        padding = length(words[3 if len(words) > 3 else min(1, len(words) - 1)], size) if words else None
    return margin(style, "left", size) + max(padding or 0.0, 0.0)


def _is_transformed(style: Style, size: float, slight: float) -> bool:
    for name, inside in _CALL.findall(style.get("transform", "")):
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
    return any(abs((float(n) * _DEGREES[unit] + 180) % 360 - 180) > 20 for n, unit in _ANGLE.findall(value))


def lies_over(box: Box) -> str:
    """Return why an element without words may cover others or pull them over; empty where it lies in its place."""
    how = "" if box.has_words else displaced(box)
    is_painted = any(name.startswith(("background", "border")) for name in box.style)
    return how if is_painted or any("margin" in name for name in box.style) else ""
