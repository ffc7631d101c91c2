"""Says which CSS declarations cannot hide, cover, cut off, move or add words: an
allowlist of properties and values. `harm_of` returns what any other one may do.

Colours, font sizes and line heights are allowed here, because their effect depends on
the elements around: `simplify` works it out from element to element.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from simple_form.colours import BLACK, READABLE, WHITE, Colour, colour_of, contrast

# In pixels: the usual font size, and the largest fonts and window for which lengths are
# checked.
ROOT_SIZE = 16.0
LARGEST_LETTERS = 48.0
LARGEST_WINDOW = 800.0
# Pixels of each unit.
_UNITS = {
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "cm": 37.8,
    "mm": 3.78,
    "in": 96.0,
    "q": 0.945,
}
# Units that depend on the font size, as shares of it.
_SIZED = {"em": 1.0, "ex": 0.5, "ch": 0.5}
_LENGTH = re.compile(
    r"([-+]?(?:[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}))([a-z]{0,4}|%)"
)
_PARTS = re.compile(r"(?<![a-z-])[a-z-]++\([^()]*+\)|[^\s,]++")


_IN_BRACKETS = re.compile(r"\([^()]*+\)")


def parts_of(value: str) -> list[str]:
    """Return the parts of a value: words, and functions such as "rgb(0 0 0)" whole."""
    return _PARTS.findall(value)


def length(
    value: str, size: float = ROOT_SIZE, whole: float | None = None
) -> float | None:
    """Return a CSS length in pixels; None if the value is none. `size` is the font size
    and `whole` the length of 100 %, both in pixels.
    """
    match = _LENGTH.fullmatch(value)
    if match is None:
        return None
    number = float(match[1])
    unit = match[2]
    if unit == "":
        return 0.0 if number == 0 else None
    if unit == "%":
        return None if whole is None else number / 100 * whole
    if unit == "rem":
        return number * ROOT_SIZE
    scale = _UNITS.get(unit) or _SIZED.get(unit, 0) * size
    return number * scale if scale else None


def attribute_length(value: str) -> float:
    """Return the pixels of an old attribute such as `cellpadding`, or 0."""
    return length(f"{value.strip()}px") or 0.0


class Harm(NamedTuple):
    """What something in a message may do to words.

    `how` names it ("display: none"), and `does` says what it may do ("hide it").
    `reaches`: it may do so to the words of other elements too.
    """

    how: str
    does: str
    reaches: bool = False


# Whether a value of a property is harmless.
Check = Callable[[str], bool]


# Returns a check that a value is one of these words.
def _one_of(words: str) -> Check:
    allowed = frozenset(words.split())
    return lambda value: value in allowed


def _lengths(low: float, high: float, words: str = "", most: int = 1) -> Check:
    """Return a check that a value has at most `most` parts, each one of `words` or a
    length from `low` to `high` pixels, whatever the font size.
    """
    allowed = frozenset(words.split())

    def check(value: str) -> bool:
        parts = value.split()
        return len(parts) <= most and all(
            part in allowed or _is_between(part, low, high) for part in parts
        )

    return check


def _is_between(value: str, low: float, high: float) -> bool:
    pixels = length(value, whole=LARGEST_WINDOW)
    if pixels is None:
        return False
    if pixels == 0 or not value.endswith(("em", "ex", "ch", "%")):
        return low <= pixels <= high
    # A length that depends on the font or the window is computed for the largest.
    largest = length(value, LARGEST_LETTERS, LARGEST_WINDOW) or 0.0
    return (low >= 0 or pixels >= 0) and low <= pixels and largest <= high


def _matching(pattern: re.Pattern[str]) -> Check:
    return lambda value: pattern.fullmatch(value) is not None


_SHADOWS = re.compile(r"(?:[^,(]|\([^()]*+\)?)++")


def _is_faint_shadow(value: str, of_text: bool = False) -> bool:
    """Whether a value is at most two shadows that are so close or so faint that words
    can be read.
    """
    shadows = _SHADOWS.findall(value)
    for shadow in shadows:
        parts = parts_of(shadow)
        alpha = next(
            (colour.alpha for part in parts if (colour := colour_of(part)) is not None),
            1.0,
        )
        sizes = [abs(pixels) for part in parts if (pixels := length(part)) is not None]
        most = 4 if alpha > 0.15 else 30
        if alpha > 0.35 or of_text or "inset" in parts:
            most = 2
        if max(sizes, default=0.0) > most:
            return False
    return len(shadows) <= 2


def _is_border(value: str, most: float = 40) -> bool:
    """Whether a border has only widths up to `most` pixels, line styles and colours."""
    parts = parts_of(value)
    return all(
        part in _LINE_STYLES
        or _is_between(part, 0, most)
        or colour_of(part) is not None
        for part in parts
    )


_LINE_STYLES = frozenset(
    (
        *"none hidden solid dotted dashed double groove ridge inset outset thin medium thick".split(),
        "currentcolor",
        "windowtext",
        "initial",
    )
)
_DECORATION_WORDS = frozenset(
    "none underline overline line-through solid dotted dashed auto from-font initial inherit unset".split()
)


def _is_decoration(value: str) -> bool:
    """Whether a text decoration is a thin line in a colour that can be seen."""
    for part in parts_of(value):
        thickness = length(part)
        colour = colour_of(part)
        most = 1 if "line-through" in value else 2.5
        is_usual = thickness is not None and 0 <= thickness <= most
        is_strong = colour is not None and colour.alpha >= 0.6
        if part not in _DECORATION_WORDS and not is_usual and not is_strong:
            return False
    return True


_SIZES = frozenset(
    "xx-small x-small small medium large x-large xx-large xxx-large smaller larger".split()
)
# The value of `font`: its size, with line height, and family.
_FONT = re.compile(
    r"(?P<style>(?:(?!(?:xx?-)?(?:small(?:er)?|larger?) |medium )[a-z-]++ |[1-9]00 )*+)"
    r"(?P<size>[0-9.]++[a-z%]*+|(?:xx?-)?(?:small|large)|medium|smaller|larger)"
    r" ?(?:/ ?(?P<line>[0-9a-z.%]+))? (?P<family>.+)"
)
_SYSTEM_FONTS = frozenset(
    "caption icon menu message-box small-caption status-bar".split()
)


def _is_size(value: str) -> bool:
    """Whether a value is a font size of at most 60 pixels."""
    size = length(value, whole=16)
    return value in _SIZES or (size is not None and size <= 60)


def _is_line_height(value: str) -> bool:
    """Whether a value is a line height that pushes nothing out of sight."""
    if re.fullmatch(r"[0-9]{0,4}\.?[0-9]{1,6}", value):
        return float(value) <= 3
    high = length(value, whole=16)
    return value == "normal" or (high is not None and high <= 100)


def font_parts(value: str) -> re.Match[str] | None:
    """Return a match with style, size, line and family of a `font`, or None."""
    return _FONT.fullmatch(value)


# Whether a `font` has only harmless parts.
def _is_font(value: str) -> bool:
    parts = font_parts(value)
    if parts is None:
        return value in _SYSTEM_FONTS
    words = parts["style"].split()
    line_height = parts["line"]
    is_style = len(words) <= 4 and all(one in _FONT_STYLES for one in words)
    is_once = (
        sum(one in WEIGHTS for one in words) <= 1
        and sum(one in SLANTS for one in words) <= 1
    )
    is_drawn = _is_size(parts["size"]) and (
        line_height is None or _is_line_height(line_height)
    )
    return is_style and is_once and is_drawn and _is_family(parts["family"])


SLANTS = frozenset(("italic", "oblique"))
WEIGHTS = frozenset(
    ("bold", "bolder", "lighter", *(str(n) for n in range(100, 1000, 100)))
)
_FONT_STYLES = SLANTS | WEIGHTS | {"normal", "small-caps"}
_FAMILIES = re.compile(
    r"""(?:"[^"]*"|'[^']*'|-{0,2}[a-z_][\w-]*(?: [a-z_][\w-]*)*)(?: ?, ?(?!$)|$)"""
)


def _is_family(value: str) -> bool:
    """Whether a list of font families draws letters as what they are."""
    position = 0
    has_usual_family = False
    while position < len(value):
        match = _FAMILIES.match(value, position)
        family = match[0].strip(" ,") if match else "inherit"
        if (
            match is None
            or family in WIDE
            or (not has_usual_family and _SYMBOL_FONTS.search(family))
        ):
            return False
        # Families after one that every machine has draw only letters that it lacks.
        has_usual_family = (
            has_usual_family
            or family in _GENERIC
            or family.strip("\"'") in _FONTS_EVERYWHERE
        )
        position = match.end()
    return True


_GENERIC = frozenset(("serif", "sans-serif", "monospace"))
_FONTS_EVERYWHERE = frozenset(("arial", "helvetica", "times new roman", "courier new"))
# Names of families that draw symbols, or nothing, in place of letters.
_SYMBOL_FONTS = re.compile(
    r"wingding|webding|symbol|dingbat|marlett|outlook|mt extra|ornament|barcode|icon|redacted|blank|^.?flow |specialty"
    r"|awesome|glyph|braille"
)


# The words of a background other than colours, with their kind. A kind may occur once,
# positions twice.
_BACKGROUND_WORDS = {
    word: kind
    for kind, words in {
        "picture": "none",
        "repeat": "repeat no-repeat repeat-x repeat-y",
        "attachment": "scroll fixed local",
        "across": "left right",
        "down": "top bottom",
        "place": "center",
    }.items()
    for word in words.split()
}


def _is_background(value: str) -> bool:
    """Whether a background is one colour at most, without a picture."""
    parts = parts_of(value)
    kinds = [
        _BACKGROUND_WORDS.get(one)
        or ("place" if length(one, whole=100) is not None else "colour")
        for one in parts
    ]
    colours = [one for one, kind in zip(parts, kinds, strict=True) if kind == "colour"]
    is_once = all(kinds.count(one) <= 1 for one in kinds if one != "place")
    positions = sum(one in ("across", "down", "place") for one in kinds)
    # The two positions must be next to each other.
    position_indexes = [
        n for n, one in enumerate(kinds) if one in ("across", "down", "place")
    ]
    is_together = (
        not position_indexes
        or position_indexes[-1] - position_indexes[0] == len(position_indexes) - 1
    )
    has_one_layer = "," not in _IN_BRACKETS.sub("", value)
    return value == "initial" or (
        has_one_layer
        and is_once
        and positions <= 2
        and is_together
        and all(map(colour_of, colours))
    )


def _stands_out(other: Colour, value: str) -> bool:
    """Whether words can be read if one of these colours is behind them and the other is
    theirs.
    """
    colour = colour_of(value)
    return value in ("auto", "none", "windowtext") or (
        colour is not None and contrast(colour, other) >= READABLE
    )


def _is_colour(value: str) -> bool:
    return colour_of(value) is not None


_PAINTS = frozenset(("color", "background", "background-color"))
WIDE = frozenset("inherit initial unset revert".split())
# Properties that are not inherited. `inherit` repeats the value of the element around,
# and the two may add up.
_ADDING_UP = re.compile(
    r"(?:margin|padding|border|outline|flex|overflow)(?:-.*)?"
    r"|(?:min-|max-)?(?:width|height)|opacity|display|position|gap"
    r"|top|right|bottom|left|float|transform|filter|clip|clip-path"
)
# Keywords for widths and heights.
_ROOM = "auto none normal min-content fit-content"
# By property; one check for several has their names with spaces between.
_CHECKS_OF_SEVERAL: dict[str, Check] = {
    # `simplify` works out the effect of all allowed values of these.
    "font-size": _is_size,
    "line-height": _is_line_height,
    "direction": _one_of("ltr rtl"),
    "color": lambda value: (
        value in ("inherit", "initial", "unset", "currentcolor") or _is_colour(value)
    ),
    "background-color": lambda value: (
        value in ("inherit", "initial", "unset", "none") or _is_colour(value)
    ),
    "background": _is_background,
    "background-image": _one_of("none"),
    "font": _is_font,
    "font-family": _is_family,
    "text-decoration text-decoration-line": _is_decoration,
    "text-decoration-style": _one_of("solid dotted dashed"),
    "text-transform": _one_of("none uppercase lowercase capitalize"),
    "white-space": _one_of("normal nowrap pre pre-wrap pre-line break-spaces"),
    "vertical-align": _lengths(
        0, 0, "baseline top middle bottom sub super text-top text-bottom"
    ),
    "letter-spacing": _lengths(0, 10, "normal"),
    "word-spacing": _lengths(0, 6, "normal"),
    "text-indent": _lengths(0, 100),
    "text-shadow": partial(_is_faint_shadow, of_text=True),
    "box-shadow": _is_faint_shadow,
    "list-style": _matching(
        re.compile(
            r"(?:(?:none|disc|circle|square|decimal|(?:lower|upper)-(?:alpha|latin|roman)|inside|outside) ?)+"
        )
    ),
    "list-style-type": _one_of(
        "none disc circle square decimal lower-alpha upper-alpha lower-latin upper-latin lower-roman upper-roman"
    ),
    "margin padding": _lengths(-1, 120, "auto", most=4),
    "margin-top margin-right margin-bottom margin-left padding-top padding-right padding-bottom padding-left": (
        _lengths(-1, 120, "auto")
    ),
    "border border-top border-right border-bottom border-left border-width border-top-width border-right-width "
    "border-bottom-width border-left-width": _is_border,
    "width max-width min-width": _lengths(40, 800, _ROOM),
    "border-spacing": _lengths(0, 6, most=2),
    "border-radius border-top-left-radius border-top-right-radius border-bottom-left-radius "
    "border-bottom-right-radius": lambda value: all(
        one == "/" or length(one, whole=100) is not None for one in value.split()
    ),
    "height": _lengths(2000, 2000, _ROOM),
    "max-height": _one_of("none 100%"),
    "min-height": _lengths(0, 600, _ROOM),
    "opacity": lambda value: (length(f"{value}px") or 0) >= 0.6,
    "visibility overflow": _one_of("visible"),
    "display": _one_of(
        "block inline inline-block table inline-table table-row table-cell table-row-group flow-root flex inline-flex"
    ),
    "position": _one_of("static relative"),
    "top right bottom left inset": _lengths(0, 0, "auto", most=4),
    "float transform filter animation clip clip-path": _one_of("none normal auto 0"),
    "z-index": _one_of("auto 0"),
    "unicode-bidi": _one_of("normal isolate embed"),
    "content": _one_of("none normal \"\" ''"),
    "outline": _one_of("none 0"),
    "flex": _matching(
        re.compile(
            r"(?:[1-9][0-9.]*|auto|0 1 auto)(?: [1-9][0-9.]*)?(?: (?:auto|0|0%|0px|100%))?"
        )
    ),
    "flex-direction": _one_of("row"),
    "flex-wrap": _one_of("nowrap wrap"),
    "gap": _lengths(0, 20, "normal", most=2),
    "align-items": _one_of("normal start flex-start center stretch baseline"),
    "background-clip": _one_of("border-box padding-box"),
    "color-scheme": _matching(
        re.compile(r"normal|(?:only )?light(?: only)?|light dark|dark light")
    ),
    "font-feature-settings font-variation-settings font-size-adjust": _one_of(
        "none normal"
    ),
    "text-stroke-width": _lengths(0, 0.4),
    "mso-text-indent-alt": _lengths(-100, 100),
    "mso-line-height-alt": _lengths(8, 60),
    # Colours that Outlook alone uses.
    "mso-highlight": partial(_stands_out, BLACK),
    "mso-color-alt mso-style-textfill-fill-color": partial(_stands_out, WHITE),
}
_CHECKS = {
    name: check for names, check in _CHECKS_OF_SEVERAL.items() for name in names.split()
}
# Properties of which any value is harmless. Those with a prefix ("-webkit-") are here
# without it.
_HARMLESS = re.compile(
    r"font-(?:style|weight|variant(?:-[a-z]+)*|stretch|kerning|optical-sizing|smoothing|synthesis)|osx-font-smoothing"
    r"|text-size-adjust|text-(?:align(?:-last|-all)?|justify|rendering|autospace|decoration-(?:color|skip(?:-ink)?)"
    r"|overflow|underline-(?:position|color)|wrap-style|justify-trim|kashida-space|combine-horizontal)"
    r"|line-break|word-(?:break|wrap)|overflow-wrap|hyphens|border-(?:color|style|collapse)"
    r"|border-(?:top|right|bottom|left)-(?:color|style)|box-sizing"
    r"|background-(?:repeat|position|size|origin|attachment)|cursor|outline-(?:style|color)|table-layout|clear"
    r"|list-style-position|empty-cells|orphans|widows|page|(?:page-)?break-[a-z]+|speak|object-(?:fit|position)"
    r"|transition(?:-[a-z-]+)?|tap-highlight-color|touch-(?:callout|action)|interpolation-mode|image-rendering"
    r"|flex-grow|appearance|isolation|pointer-events"
    r"|scroll[a-z-]*|will-change|supported-color-schemes|tab-(?:stops|interval)"
    r"|nbsp-mode|user-(?:modify|drag|select)|premailer-[a-z-]+|caps"
    r"|panose-1|layout-grid(?:-[a-z]+)?|punctuation-wrap|print-color-adjust|color-adjust|accent-color|caret-color"
)
# Harmless properties that Office writes, about printing, lists, languages and tables.
_OFFICE = re.compile(
    r"mso-(?:element(?:-(?:wrap|anchor-[a-z]+|frame-[a-z]+))?|style-(?!textfill)[a-z-]+|style-textfill-type"
    r"|style-textfill-fill-(?:themecolor|alpha)|(?:list|level|yfti|displayed|page|table|border)(?:-[a-z-]+)?"
    r"|(?:ansi|ascii|bidi|default|fareast|font|generic|hansi)-[a-z-]*"
    r"(?:alt|charset|family|format|kerning|language|pitch"
    r"|props|signature|style|theme-font|weight)|(?:cellspacing|padding|margin-[a-z]+|para-margin(?:-[a-z]+)?)(?:-alt)?"
    r"|no-proof|pagination|spacerun|tab-count|outline-level|ligatures|bookmark|theme(?:color|shade|tint)|hyphenate"
    r"|(?:header|footer|gutter)-margin|facing-pages|paper-source|width-(?:source|percent|alt)|height-(?:source|rule)"
    r"|number-format|ignore|diagonal|background-source|protection|data-placement|line-height-rule)"
)
_VENDOR = re.compile(r"-(?:(?:webkit|moz|ms|o|khtml)-|(?=premailer-))")

# What all other properties may do, by how their names begin.
_DOES = {
    "add words": "content counter list-style quotes hyphenate",
    "hide it": "display visibility opacity color background text-fill text-security mso-hide filter mask clip "
    "animation zoom font-size",
    "cut it off": "overflow height max- width line-clamp",
    "move it": "text-indent position top left right bottom inset float margin padding order flex grid direction "
    "unicode-bidi writing transform",
    "cover other words": "box-shadow outline text-decoration text-shadow",
    "draw other letters": "font text-transform",
}
# Properties that concern only the words of the element itself.
_OWN_WORDS_ONLY = re.compile(
    r"display|visibility|opacity|color|background|text-fill|text-security|mso-hide|clip|zoom|font|overflow|height"
    r"|max-|min-height|width|line-clamp|text-|letter-|word-|float|padding|list-style|direction|unicode-bidi|white-space"
    r"|vertical-align|content-visibility|flex-basis|hyphen|columns"
)


def _is_of_office(name: str, value: str) -> bool:
    if not name.startswith("mso-"):
        return False
    if name.endswith("font-size"):
        return (length(value) or 0) >= 8
    is_near = all(
        -1 <= pixels <= 120
        for part in parts_of(value)
        if (pixels := length(part)) is not None
    )
    return is_near and _OFFICE.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def harm_of(name: str, value: str) -> Harm | None:
    """Return what a declaration may do to words; None if it is harmless. Name and value
    are in lower case.
    """
    plain = _VENDOR.sub("", name, count=1)
    if value in ("initial", "unset") and plain not in (*_PAINTS, "all"):
        return None
    check = _CHECKS.get(plain)
    if check is not None:
        is_wide = value in WIDE and plain not in _PAINTS
        adds_up = value == "inherit" and _ADDING_UP.fullmatch(plain)
        if (is_wide and not adds_up) or check(value):
            return None
    elif _HARMLESS.fullmatch(plain) or _is_of_office(plain, value):
        return None
    does = next(
        (
            does
            for does, names in _DOES.items()
            if plain.startswith(tuple(names.split()))
        ),
        "change it",
    )
    return Harm(f"{name}: {value[:80]}", does, reaches=not _OWN_WORDS_ONLY.match(plain))
