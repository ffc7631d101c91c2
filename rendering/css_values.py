"""Reads CSS values: computes lengths, and lists the values that every mail program follows or that hide nothing.

Linear, and bounded in depth. What cannot be worked out is None, never a guess. What is not sure is judged both ways.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from rendering.colours import is_named

ROOT_SIZE = 16.0
MAX_TERMS = 60

_LENGTH = re.compile(
    r"(?<![\w.#])(-?[0-9]{0,40}\.?[0-9]{1,40}(?:e[+-]?[0-9]{1,2})?)"
    r"(px|pt|pc|em|rem|ex|ch|%|vw|vh|vmin|vmax|cm|mm|in|q)?(?![\w%])"
)
_BETWEEN_LENGTHS = re.compile(r"[\s,()+]+")
_CALL = re.compile(r"(?<![a-z0-9-])([a-z0-9-]{1,40})\(([^()]{0,300})\)")
_ANGLE = re.compile(r"(-?[0-9]{0,20}\.?[0-9]{1,20})(deg|turn|grad|rad)")
_RADIANS = {"deg": math.pi / 180, "turn": 2 * math.pi, "grad": math.pi / 200, "rad": 1.0}
_UNITS = {"px": 1, "": 1, "pt": 4 / 3, "pc": 16, "cm": 37.8, "mm": 3.78, "in": 96, "q": 0.945}
_FRACTIONS = {"em": 1, "rem": 1, "ex": 0.5, "ch": 0.5}
_TERM = re.compile(r"\s*([0-9]{0,20}\.?[0-9]{1,20}(?:e[+-]?[0-9]{1,2})?[a-z%]{0,4}|[-+*/(),]|[a-z-]{1,10}\()")
_MIDDLE = {"min": min, "max": max, "calc": max, "": max}


def length(value: str, size: float = ROOT_SIZE, whole: float = 600.0) -> float | None:
    """Return the first length in `value` in pixels; `whole` is what a percentage is of. None when there is none."""
    if not value:
        return None
    if "(" in value:
        reckoned = computed(value, size, whole)
        if reckoned is not None:
            return reckoned
    found = _LENGTH.search(value)
    return _pixels(float(found.group(1)), found.group(2) or "", size, whole) if found else None


def calls(value: str) -> list[tuple[str, str]]:
    """Return the calls in a value, such as `scale(2)`: each by its name and what stands in it."""
    return _CALL.findall(value)


def angles(value: str) -> list[float]:
    """Return all angles in a value, in radians."""
    return [float(number) * _RADIANS[unit] for number, unit in _ANGLE.findall(value)]


def lengths(value: str, size: float, whole: float = 600.0) -> list[float]:
    """Return all lengths in a value, those inside calls one by one."""
    found = [length(part, size, whole) for part in _BETWEEN_LENGTHS.split(value)] if value else []
    return [number for number in found if number is not None]


def computed(value: str, size: float = ROOT_SIZE, whole: float = 600.0) -> float | None:
    """Return the result in pixels of a value that is one calc(), min(), max() or clamp(); None for anything else."""
    if not value.startswith(("calc(", "min(", "max(", "clamp(", "-webkit-calc(")):
        return None
    terms: list[str] = []
    at = 0
    while at < len(value):
        found = _TERM.match(value, at)
        if found is None or len(terms) > MAX_TERMS:
            return None
        terms.append(found.group(1))
        at = found.end()
    reader = _Reader(terms, lambda number, unit: _pixels(number, unit, size, whole))
    try:
        result = reader.sum()
    except (ArithmeticError, IndexError, ValueError):
        return None
    return result if reader.at == len(terms) else None


def _pixels(number: float, unit: str, size: float, whole: float) -> float:
    if unit in _UNITS:
        return number * _UNITS[unit]
    if unit in _FRACTIONS:
        return number * _FRACTIONS[unit] * (ROOT_SIZE if unit == "rem" else size)
    return number / 100 * (whole if unit == "%" else 800.0)


class _Reader:
    """Reads terms by the usual precedence."""

    def __init__(self, terms: list[str], pixels: Callable[[float, str], float]) -> None:
        self.terms = terms
        self.pixels = pixels
        self.at = 0

    def sum(self) -> float:
        total = self._product()
        while self._next() in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            total += sign * self._product()
        return total

    def _product(self) -> float:
        product = self._one()
        while self._next() in ("*", "/"):
            product = product * self._one() if self._take() == "*" else product / self._one()
        return product

    def _one(self) -> float:
        term = self._take()
        if term in ("-", "+"):
            return -self._one() if term == "-" else self._one()
        if term.endswith("("):
            return self._call(term[:-1].removeprefix("-webkit-"))
        found = _LENGTH.fullmatch(term)
        if found is None:
            raise ValueError(term)
        return self.pixels(float(found.group(1)), found.group(2) or "")

    def _call(self, name: str) -> float:
        inside = [self.sum()]
        while self._next() == ",":
            self._take()
            inside.append(self.sum())
        if self._take() != ")":
            raise ValueError(name)
        if name == "clamp":
            low, wanted, high = inside
            return max(low, min(wanted, high))
        if name not in _MIDDLE:
            raise ValueError(name)
        return _MIDDLE[name](inside)

    def _next(self) -> str:
        return self.terms[self.at] if self.at < len(self.terms) else ""

    def _take(self) -> str:
        self.at += 1
        return self.terms[self.at - 1]


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
_SURE_LENGTH = re.compile(_ONE_LENGTH)
_PART = re.compile(rf"{_NUMBER}%?")
_SIZES = frozenset("xx-small x-small small medium large x-large xx-large xxx-large smaller larger".split())
_ROOM = frozenset("auto none min-content max-content fit-content".split())
# Properties of one or more lengths, and the keywords that may replace a length.
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
        return _is_plain_background(value)
    if name == "background-image":
        return value == "none"
    if name in _LENGTHS:
        most, words = _LENGTHS[name]
        return computed(value) is not None or _all_fit(value, most, lambda one: one in words or _is_length(one))
    if name in _PARTS:
        most, word = _PARTS[name]
        return computed(value) is not None or _all_fit(
            value, most, lambda one: one == word or bool(_PART.fullmatch(one))
        )
    if name == "font":
        return bool(_FONT.fullmatch(value))
    return name not in _CALLED or value == "none" or bool(_A_CALL.fullmatch(value))


def is_colour(value: str) -> bool:
    """Whether a value is one colour and nothing else."""
    return is_named(value) or bool(_HEX.fullmatch(value) or _RGB.fullmatch(value))


def _is_plain_background(value: str) -> bool:
    """A colour with the place of a picture; one that is drawn (a gradient) is not followed everywhere."""
    words = re.sub(r"\s?,\s?(?=[^()]*\))", ",", value).replace("/", " / ").split()
    colours = [word for word in words if is_colour(word)]
    return len(colours) <= 1 and all(word in _LAID or _is_length(word) for word in words if word not in colours)


def _is_length(word: str) -> bool:
    return bool(_SURE_LENGTH.fullmatch(word))


def _all_fit(value: str, most: int, fits: Callable[[str], bool]) -> bool:
    words = value.split()
    return 0 < len(words) <= most and all(map(fits, words))


SMALL_SPREAD = 4.0
# A line through text that is thicker than this hides it.
THIN_LINE = 2.5

# These change how text looks, breaks or is chosen, never whether or where it is read.
_HARMLESS = re.compile(
    r"mso-.*|accent-color|align-.*|animation-(?!name).*|appearance|backface-visibility|behavior"
    r"|background-(?:attachment|origin|position.*|repeat.*|size|inline-policy)"
    r"|border(?:-.*)?-(?:radius.*|style|colors?)|border-(?:radius.*|style|color|collapse|spacing|after.*|before.*|fit)"
    r"|(?:horizontal|vertical)-border-spacing|border-block.*|border-inline.*|border-(?:start|end).*"
    r"|box-(?:align|decoration-break|flex|orient|pack|sizing|snap)|break-.*|page.*|orphans|widows"
    r"|caret.*|color-(?:adjust|rendering|interpolation.*|profile)|print-color-adjust|forced-color-adjust"
    r"|column-(?:gap|rule.*|fill|break.*)|(?:row|grid|grid-row|grid-column)-gap|gap|container-name|anchor-name"
    r"|counter-.*|cursor|empty-cells|fill.*|flood-.*|flex-grow|flex-(?:pack|align|item-align|line-pack)"
    r"|font-(?!size|adjust|width).*|hanging-punctuation|hyphen.*|image-.*|ime-.*|isolation|justify-.*|place-.*|kerning"
    r"|layout-grid.*|line-break|list-style.*|marker.*|marquee.*|object-(?:fit|position)|osx-font-smoothing"
    r"|outline-(?:color|style|radius.*)|overflow-(?:anchor|wrap|scrolling|style|clip-margin.*)|overscroll-.*"
    r"|pointer-events|quotes|resize|ruby-.*|scroll.*|speak.*|stop-.*|stroke-(?!width).*|supported-color-schemes"
    r"|table-layout|tab-size|tap-highlight-color|timeline-scope|touch-.*|transform-(?:style|box)|transition.*"
    r"|interpolation-mode"
    r"|text-(?:align.*|anchor|autospace|autosizing-status|emphasis-(?:position|skip)|justify.*|kashida.*"
    r"|overflow|rendering"
    r"|size-adjust|spacing.*|transform|underline-(?!offset).*|wrap-style|decoration-(?:skip.*|style|blink|none|trim))"
    r"|unicode-range|user-.*|vertical-align|view-t.*|voice.*|white-space(?:-collapse|-trim)?|will-change"
    r"|word-(?:break|wrap|space-transform)|min-zoom|max-zoom"
)
_NONE = r"none|normal|auto|0|initial|inherit|unset"
_TRACK = r"(?:auto|min-content|max-content|[1-9][0-9.]*fr|[1-9][0-9]{1,3}px|[1-9][0-9]?(?:\.[0-9]+)?%)"
_THIN = r"(?:[0-2]?(?:\.[0-9]+)?px|0|0?\.0[0-9]*em|thin|auto|from-font)"
# Of these the values that hide and move nothing.
_SAFE_VALUES = {
    name: re.compile(rf"(?:{_NONE}|{values})")
    for name, values in {
        "aspect-ratio": "",
        "background-clip": "border-box|padding-box|content-box",
        "background-blend-mode": "",
        "color-scheme": "light|light only|only light|light dark|dark light",
        "column-count": "[0-9]",
        "columns": "[0-9]",
        "contain": "layout|style|layout style",
        "content": r"[\"']{2}",
        "flex": r"[1-9][0-9.]*(?: [0-9.]+)?(?: (?:auto|[0-9.]+(?:px|%|em)?))?|0 [01] (?:auto|[1-9][0-9.]*(?:px|%|em))",
        "flex-basis": r"[1-9][0-9.]*(?:px|%|em|rem)|content",
        "flex-shrink": "[0-9.]+",
        "grid-auto-columns": _TRACK,
        "grid-auto-rows": r"auto|min-content|max-content|[1-9][0-9.]*fr",
        "grid-template-columns": rf"{_TRACK}(?: {_TRACK})*|repeat\([0-9]{{1,2}} ?, ?{_TRACK}\)",
        "grid-template-rows": r"(?:auto|min-content|max-content|[1-9][0-9.]*fr)(?: (?:auto|[1-9][0-9.]*fr))*",
        "outline": rf"{_THIN}(?: .*)?|none .*|0 .*",
        "outline-width": _THIN,
        "outline-offset": "[0-5]px",
        "text-decoration-color": r"[a-z]+|#[0-9a-f]+",
        "text-decoration-thickness": _THIN,
        "text-stroke": r"0?(?:\.[0-3]px)?(?: .*)?|0px.*",
        "text-stroke-width": r"0?\.[0-3]px|0px",
        "text-underline-offset": r"[0-9](?:\.[0-9]+)?px|0?\.[0-9]+em|from-font",
        "transform-origin": r"(?:(?:left|right|top|bottom|center|0|[0-9]{1,2}%|100%) ?){1,3}",
    }.items()
}
# How far, in pixels, a shadow may fall or spread without lying over other words or under its own.
_SHADOWS = {"box-shadow": 40.0, "text-shadow": 3.0}
# What a name speaks of that has to do with whether and where text is seen.
_CAN_HIDE = re.compile(
    r"anchor|area|aspect|background|base|blend|block|border|box|caption|clamp|clip|column|composite|contain|content"
    r"|continue|decoration|display|emphasis|field|filter|flex|float|flow|font|fragment|grid|height|hid|image|indent"
    r"|initial|inset|interactiv|item|layout|letter|line|margin|mask|max|min|mode|motion|object|offset|opac|order"
    r"|orient|outline|overflow|overlay|paint|padding|perspective|position|reflect|region|rotat|row|rule|scale"
    r"|scheme|shadow|shape|size|space|spacing|step|stroke|text|track|transform|translat|trim|visib|width|wrap|writing"
    r"|zoom"
)
_FUNCTION = re.compile(r"([a-z-]{1,40})\(")
_FUNCTIONS = frozenset(
    "calc min max clamp rgb rgba hsl hsla hwb lab lch oklab oklch color url linear-gradient radial-gradient "
    "conic-gradient repeating-linear-gradient repeating-radial-gradient repeating-conic-gradient -webkit-gradient "
    "-webkit-linear-gradient -moz-linear-gradient -o-linear-gradient from to color-stop image-set -webkit-image-set "
    "translate translatex translatey translatez translate3d scale scalex scaley scalez scale3d rotate rotatex rotatey "
    "rotatez rotate3d skew skewx skewy matrix matrix3d perspective rect inset circle ellipse polygon "
    "blur brightness contrast invert opacity grayscale sepia saturate hue-rotate alpha repeat cubic-bezier "
    "steps".split()
)
_NUMBER_WITH_UNIT = re.compile(r"(?<![\w#.-])[-+]?[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?([a-z]+)(?![\w(-])")
_KNOWN_UNITS = frozenset("px pt pc em rem ex ch vw vh vmin vmax cm mm in q deg turn grad rad s ms fr x e dpi d".split())
_KEYWORDED = frozenset("display visibility position overflow overflow-x overflow-y content-visibility all".split())
# Written by mail programs, and ignored or black everywhere.
_IDLE_COLOURS = frozenset({"windowtext", "auto", "none", "normal", "transparent", "currentcolor"})
# A notation that is read, but that some mail programs do not know.
_READ_COLOUR = re.compile(r"(?:rgba?|hsla?|hwb|lab|lch|oklab|oklch|color)\((?!from)[0-9a-z%.,/ +-]*\)")
_OLD_DISPLAY = re.compile(r"-(?:webkit|moz|ms)-(?:inline-)?(?:box|flex|flexbox|grid|sticky)|overlay|-webkit-sticky")
_COLOUR_NUMBER = re.compile(r"[a-z]+\([^()]*\)|#[0-9a-f]+")
_VENDOR = re.compile(r"-(?:webkit|moz|ms|o|khtml)-")


def without_vendor(name: str) -> str:
    """Return the name of a property without the prefix of a browser's maker."""
    return _VENDOR.sub("", name, count=1) if name[:1] == "-" else name


@lru_cache(maxsize=4096)
def is_harmless(name: str, value: str) -> bool:
    """Whether a property that no other module follows hides and moves nothing with this value."""
    name = without_vendor(name)
    if value in _WIDE or _HARMLESS.fullmatch(name):
        return True
    if name in _SHADOWS:
        return all(_is_small_shadow(part, _SHADOWS[name]) for part in re.split(r",(?![^(]*\))", value))
    safe = _SAFE_VALUES.get(name)
    if safe is not None:
        return bool(safe.fullmatch(value))
    return not _CAN_HIDE.search(name) or value in ("none", "normal", "auto")


@lru_cache(maxsize=4096)
def is_followed(name: str, value: str) -> bool:
    """Whether the desk understands this value of a property that it follows."""
    if value in _WIDE or _HARMLESS.fullmatch(name):
        return True
    if name == "contain":
        return is_harmless(name, value)
    if name.startswith("text-decoration"):
        return max(lengths(_COLOUR_NUMBER.sub(" ", value), ROOT_SIZE), default=0.0) <= THIN_LINE
    if name in _KEYWORDED:
        return is_sure(name, value) or bool(_OLD_DISPLAY.fullmatch(value))
    if name in _COLOURED:
        return is_colour(value) or value in _IDLE_COLOURS or value[:1] == "#" or bool(_READ_COLOUR.fullmatch(value))
    if {found.group(1) for found in _FUNCTION.finditer(value)} - _FUNCTIONS or (name == "filter" and "url(" in value):
        return False
    if value.startswith(("calc(", "min(", "max(", "clamp(")) and computed(value) is None:
        return False
    return all(unit in _KNOWN_UNITS for unit in _NUMBER_WITH_UNIT.findall(value))


def _is_small_shadow(value: str, most: float) -> bool:
    measures = lengths(_COLOUR_NUMBER.sub(" ", value), ROOT_SIZE)
    if "(" in value and not re.fullmatch(r"[^()]*(?:rgb|hsl)a?\([^()]*\)[^()]*", value):
        return False
    if "inset" in value:
        return max(map(abs, measures), default=0.0) <= SMALL_SPREAD
    return max(map(abs, measures[:3]), default=0.0) <= most and all(abs(n) <= SMALL_SPREAD for n in measures[3:])
