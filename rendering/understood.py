"""Says of which CSS the desk knows that it hides and moves nothing beyond what other modules follow.

A property whose name is about place, size, colour or visibility and that is not listed here, or a value that is not
read here, makes a text "may be hidden". Names that no property resembles, such as misspelt ones, do nothing.
"""

import re
from functools import lru_cache

from rendering.arithmetic import ROOT_SIZE, calculated, lengths
from rendering.values import is_colour, is_sure

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
    r"|interpolation-mode|text-(?:align.*|anchor|autospace|autosizing-status|emphasis-(?:position|skip)|justify.*|kashida.*"
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
_UNITS = frozenset("px pt pc em rem ex ch vw vh vmin vmax cm mm in q deg turn grad rad s ms fr x e dpi d".split())
_WIDE = frozenset("initial inherit unset revert revert-layer".split())
_KEYWORDED = frozenset("display visibility position overflow overflow-x overflow-y content-visibility all".split())
_COLOURED = frozenset({"color", "background-color", "-webkit-text-fill-color"})
# Written by mail programs, and passed over or black everywhere.
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
    """Whether the desk can tell what this value of a property that it follows comes to."""
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
    if value.startswith(("calc(", "min(", "max(", "clamp(")) and calculated(value) is None:
        return False
    return all(unit in _UNITS for unit in _NUMBER_WITH_UNIT.findall(value))


def _is_small_shadow(value: str, most: float) -> bool:
    measures = lengths(re.sub(r"[a-z]+\([^()]*\)|#[0-9a-f]+", " ", value), ROOT_SIZE)
    if "(" in value and not re.fullmatch(r"[^()]*(?:rgb|hsl)a?\([^()]*\)[^()]*", value):
        return False
    if "inset" in value:
        return max(map(abs, measures), default=0.0) <= SMALL_SPREAD
    return max(map(abs, measures[:3]), default=0.0) <= most and all(abs(n) <= SMALL_SPREAD for n in measures[3:])
