"""Tells the CSS values that every mail program follows from those that some, or all, would pass over.

A style that hides and is then followed by a value that nobody understands still hides. The grammar here is narrow on
purpose: what is not sure costs nothing, it is only judged both ways.
"""

import re
from collections.abc import Callable, Mapping

from rendering.arithmetic import calculated
from rendering.colours import is_named

_WIDE = frozenset("inherit initial unset revert revert-layer".split())
_CLIPS = frozenset("visible hidden clip scroll auto".split())
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "all": frozenset(),
    "display": frozenset(
        "none block inline inline-block flow-root list-item contents flex inline-flex grid inline-grid table "
        "inline-table table-row table-cell table-column table-column-group table-row-group table-header-group "
        "table-footer-group table-caption -webkit-box -webkit-inline-box".split()
    ),
    "visibility": frozenset("visible hidden collapse".split()),
    "position": frozenset("static relative absolute fixed sticky".split()),
    "overflow": _CLIPS,
    "overflow-x": _CLIPS,
    "overflow-y": _CLIPS,
    "content-visibility": frozenset("visible auto hidden".split()),
    "mso-hide": frozenset("all none screen".split()),
    "-webkit-text-security": frozenset("none disc circle square".split()),
    "mix-blend-mode": frozenset(
        "normal multiply screen overlay darken lighten color-dodge color-burn hard-light soft-light difference "
        "exclusion hue saturation color luminosity".split()
    ),
}
_NUMBER = r"[-+]?(?:[0-9]{1,20}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})(?:e[-+]?[0-9]{1,3})?"
_ONE_LENGTH = rf"(?:{_NUMBER}(?:px|pt|pc|em|rem|ex|ch|%|vw|vh|vmin|vmax|cm|mm|in|q)|[-+]?0{{1,9}}(?:\.0{{1,9}})?)"
_LENGTH = re.compile(_ONE_LENGTH)
_PART = re.compile(rf"{_NUMBER}%?")
_SIZES = frozenset("xx-small x-small small medium large x-large xx-large xxx-large smaller larger".split())
_ROOM = frozenset("auto none min-content max-content fit-content".split())
# Properties of one length, or of a few, and the words that may stand in a length's place.
_LENGTHS = {
    "font-size": (1, _SIZES),
    "letter-spacing": (1, frozenset({"normal"})),
    "text-indent": (1, frozenset()),
    **dict.fromkeys(("height", "width", "max-height", "max-width", "min-height", "min-width"), (1, _ROOM)),
    **dict.fromkeys(("left", "top", "right", "bottom"), (1, frozenset({"auto"}))),
    **dict.fromkeys(("margin", "inset"), (4, frozenset({"auto"}))),
    **dict.fromkeys(("margin-left", "margin-right", "margin-top", "margin-bottom"), (1, frozenset({"auto"}))),
    "padding": (4, frozenset()),
    **dict.fromkeys(("padding-left", "padding-right", "padding-top", "padding-bottom"), (1, frozenset())),
    "translate": (3, frozenset({"none"})),
}
_PARTS = {"opacity": (1, ""), "zoom": (1, "normal"), "scale": (3, "none")}
_A_CALL = re.compile(
    rf"(?:translate[xy]?|scale[xy]?|rotate[xyz]?|opacity|blur|rect|inset|circle)"
    rf"\(\s?{_NUMBER}[a-z%]{{0,4}}(?:[ ,]{{1,3}}{_NUMBER}[a-z%]{{0,4}}){{0,3}}\s?\)"
)
_CALLED = frozenset({"transform", "clip", "clip-path", "filter", "rotate"})
_RGB = re.compile(
    rf"rgba?\(\s?{_NUMBER}\s?,\s?{_NUMBER}\s?,\s?{_NUMBER}\s?(?:,\s?{_NUMBER}%?\s?)?\)"
    rf"|rgba?\(\s?{_NUMBER}%\s?,\s?{_NUMBER}%\s?,\s?{_NUMBER}%\s?(?:,\s?{_NUMBER}%?\s?)?\)"
    rf"|hsla?\(\s?{_NUMBER}(?:deg)?\s?,\s?{_NUMBER}%\s?,\s?{_NUMBER}%\s?(?:,\s?{_NUMBER}%?\s?)?\)"
    rf"|(?:rgba?|hsla?|hwb)\(\s?{_NUMBER}(?:%|deg)?\s{_NUMBER}%?\s{_NUMBER}%?\s?(?:/\s?{_NUMBER}%?\s?)?\)"
)
_HEX = re.compile(r"#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})")
_COLOURED = frozenset({"color", "background-color", "-webkit-text-fill-color"})
_LAID = frozenset(
    "none repeat no-repeat repeat-x repeat-y scroll fixed local left right top bottom center cover contain "
    "border-box padding-box content-box / ,".split()
)
_FONT = re.compile(
    rf"(?:(?:normal|italic|oblique|bold|bolder|lighter|small-caps|[1-9]00)\s){{0,4}}"
    rf"(?:{_ONE_LENGTH}|{'|'.join(_SIZES)})\s?(?:/\s?[0-9a-z.%]{{1,12}}\s?)?\s[a-z].*"
)


def is_sure(name: str, value: str) -> bool:
    """Whether every mail program that knows the property follows this value."""
    if value in _WIDE:
        return True
    if name in _KEYWORDS:
        return value in _KEYWORDS[name]
    if name in _COLOURED:
        return is_colour(value)
    if name == "background":
        return _is_plain_ground(value)
    if name == "background-image":
        return value == "none"
    if name in _LENGTHS:
        most, words = _LENGTHS[name]
        return calculated(value) is not None or _are(value, most, lambda one: one in words or _is_length(one))
    if name in _PARTS:
        most, word = _PARTS[name]
        return calculated(value) is not None or _are(value, most, lambda one: one == word or bool(_PART.fullmatch(one)))
    if name == "font":
        return bool(_FONT.fullmatch(value))
    return name not in _CALLED or value == "none" or bool(_A_CALL.fullmatch(value))


def is_colour(value: str) -> bool:
    """Whether a value is one colour and nothing else."""
    return is_named(value) or bool(_HEX.fullmatch(value) or _RGB.fullmatch(value))


def _is_plain_ground(value: str) -> bool:
    """A colour with the place of a picture; one that is drawn (a gradient) is not followed everywhere."""
    words = re.sub(r"\s?,\s?(?=[^()]*\))", ",", value).replace("/", " / ").split()
    colours = [word for word in words if is_colour(word)]
    return len(colours) <= 1 and all(word in _LAID or _is_length(word) for word in words if word not in colours)


def _is_length(word: str) -> bool:
    return bool(_LENGTH.fullmatch(word))


def _are(value: str, most: int, fits: Callable[[str], bool]) -> bool:
    words = value.split()
    return 0 < len(words) <= most and all(map(fits, words))
