"""Reads CSS declarations, and says which of them change no words in any mail program.

A value is compared in lower case. What is not plain ASCII, or cannot be read, becomes a
declaration with the name "?", which nothing applies.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

import tinycss2

from simple_form.colours import colour_of
from simple_form.html_reading import Values, ascii_lower

SIDES = ("top", "right", "bottom", "left")
ROOT_SIZE = 16.0
_LENGTH = re.compile(r"([+-]?(?:[0-9]{1,5}(?:\.[0-9]{1,6})?|\.[0-9]{1,6}))([a-z]+|%)?")
_PIXELS = {"px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 37.8, "mm": 3.78, "rem": ROOT_SIZE}  # fmt: skip
_FONT = re.compile(
    r"(?:(?P<style>italic|oblique)[ ])?+(?:(?P<weight>bold|[1-9]00)[ ])?+(?:normal[ ])*+"
    r"(?P<size>[0-9.]++(?:px|pt|em|%)|0)(?:[ ]?/[ ]?(?P<line>[0-9.]++(?:px|em|%)?))?+[ ](?P<family>.+)"
)


class Declaration(NamedTuple):
    """A property and its value."""

    name: str
    value: str
    important: bool = False


@lru_cache(maxsize=4096)
def declarations_of(text: str) -> tuple[Declaration, ...]:
    """Return the declarations of a style attribute."""
    return read_declarations(tinycss2.parse_blocks_contents(text, skip_comments=True))


def read_declarations(nodes: Iterable[tinycss2.ast.Node]) -> tuple[Declaration, ...]:
    """Return the declarations among these nodes of tinycss2, shorthands as what they
    stand for.
    """
    found: list[Declaration] = []
    for node in nodes:
        if node.type == "whitespace":
            continue
        if node.type != "declaration":
            found.append(Declaration("?", node.type))
            continue
        parts = [part for part in node.value if part.type != "comment"]
        value = re.sub("[ \t\n\r\f]+", " ", tinycss2.serialize(parts)).strip(" ")
        family = node.lower_name == "font-family"
        if not node.lower_name.isascii() or not (value.isascii() or family):
            found.append(Declaration("?", f"{node.lower_name}: {value}"[:60]))
            continue
        for name, one in _expanded(node.lower_name, ascii_lower(value)):
            found.append(Declaration(name, one, node.important))
    return tuple(found)


def _expanded(name: str, value: str) -> Iterable[tuple[str, str]]:
    """Yield the properties that a declaration sets, with their values."""
    if name in ("margin", "padding"):
        sides = value.split(" ")
        if len(sides) > 4:
            yield "?", f"{name}: {value}"[:60]
            return
        top, right, bottom, left, *_ = [*sides, None, None, None]
        right = right or top
        sides = [top, right, bottom or top, left or right]
        for side, one in zip(SIDES, sides, strict=True):
            yield f"{name}-{side}", one or ""
    elif name == "font" and (match := _FONT.fullmatch(value)):
        for part in ("style", "weight", "size", "line", "family"):
            if match[part]:
                yield {"line": "line-height"}.get(part, f"font-{part}"), match[part]
    elif name == "text-decoration-line":
        yield "text-decoration", value
    elif name == "list-style":
        words = [one for one in value.split(" ") if one not in ("inside", "outside")]
        yield "list-style-type", " ".join(words)
    else:
        yield name, value


def held_by(declarations: Iterable[Declaration]) -> Values:
    """Return the value that applies of each property; later ones win."""
    held = Values()
    important = set()
    for name, value, is_important in declarations:
        if is_important or name not in important:
            held[name] = value
        if is_important:
            important.add(name)
    return held


def pixels(
    value: str, size: float = ROOT_SIZE, whole: float | None = None
) -> float | None:
    """Return a length in pixels; None if it is none. `size` is the font size for em,
    `whole` what percentages are of.
    """
    match = _LENGTH.fullmatch(value)
    if match is None:
        return None
    number, unit = float(match[1]), match[2]
    if unit is None:
        return 0.0 if number == 0 else None
    if unit == "%":
        return None if whole is None else number * whole / 100
    if unit in ("em", "ex"):
        return number * size / (1 if unit == "em" else 2)
    factor = _PIXELS.get(unit)
    return None if factor is None else number * factor


_EVERYWHERE = "inherit|initial|unset|revert"
# Values that change no words, by property.
_HARMLESS = {
    name: re.compile(f"{values}|{_EVERYWHERE}")
    for names, values in {
        "font-weight": "bold|bolder|lighter|normal|[1-9]00",
        "font-style": "italic|oblique|normal",
        "text-align": "(?:-webkit-)?(?:left|right|center|justify|start|end|auto)",
        "vertical-align": "top|middle|bottom|baseline|text-top|text-bottom|super|sub",
        "text-transform": "none|uppercase|lowercase|capitalize",
        "text-decoration": "none|(?:(?:underline|line-through|solid|#[0-9a-f]{6}) ?)+",
        "list-style-type": "none|disc|circle|square|decimal|(?:lower|upper)-(?:alpha|roman|latin)",
        "list-style-position": "inside|outside",
        "display": "block|inline|inline-block|table|table-cell|table-row|inline-table|list-item|flex|inline-flex|grid",
        "direction unicode-bidi": "ltr|rtl|normal|embed",
        "white-space": "normal|nowrap|pre|pre-wrap|pre-line|break-spaces",
        "overflow overflow-x overflow-y": "visible|auto|scroll",
        "visibility": "visible",
        "float": "none|left",
        "position": "static|relative",
        "table-layout": "auto",
        "font-variant font-variant-caps font-variant-ligatures font-variant-numeric font-variant-east-asian "
        "font-variant-alternates font-variant-position font-variant-emoji font-feature-settings font-variation-settings":
            "normal|none|small-caps|(?:tabular|lining|oldstyle)-nums",
        "font-size-adjust": "none",
        "top right bottom left": "auto|0(?:px)?",
        "z-index": "auto|[0-9]+",
        "opacity": r"1(?:\.0)?|0?\.[89][0-9]?",
        "background-image text-shadow box-shadow outline transform filter -webkit-text-stroke": "none|0(?:px)?",
        "min-height min-width -webkit-text-size-adjust text-size-adjust -ms-text-size-adjust": "0|auto|none|100%",
        "flex-direction": "row|column",
        "flex-wrap": "wrap|nowrap",
        "justify-content align-items align-self align-content": "normal|(?:flex-)?start|center|space-[a-z]+|stretch|baseline",
        "flex flex-grow flex-shrink": "[01]|auto|none|[01] [01] (?:auto|0|0%|0px)",
        "grid-template-columns": r"(?:repeat\([1-6], ?)?(?:[1-9]fr ?|auto ?)+\)?",
        "font-size": "(?:x-|xx-)?(?:small|large)|medium|smaller|larger",
        "line-height mso-line-height-alt": r"normal|[1-3](?:\.[0-9]{1,4})?",
        "text-indent": "0",
        "text-size-adjust": "100%",
    }.items()
    for name in names.split()
}  # fmt: skip
# Properties that change no words, whatever their value.
_FREE = re.compile(
    r"font-stretch|font-kerning|cursor|orphans|widows|page|word-break|word-wrap"
    r"|overflow-wrap|line-break|border-(?:collapse|spacing|color|style|(?:top|right|bottom|left)-(?:color|style))"
    r"|(?:border-.*|border)radius|box-sizing|text-rendering|caret-color|(?:-webkit-|-moz-osx-)font-smoothing"
    r"|-ms-interpolation-mode|text-decoration-(?:style|color|skip-ink)|transition|-webkit-(?:tap-highlight-color|nbsp-mode"
    r"|line-break)|background-(?:repeat|position|size|attachment|origin)|empty-cells|hyphens|clear|tab-size"
    r"|font-optical-sizing|-webkit-user-[a-z]+|object-fit|(?:page-)?break-[a-z]+|resize|user-select|outline-(?:color|style)|panose-1"
    r"|mso-(?!hide|data-placement|margin|padding|text-raise|font-width|char|table-overlap|element|special).*|border-image"
    r"|tab-stops|layout-grid.*|punctuation-wrap|text-(?:justify.*|autospace|underline)|scrollbar-.*|ms-.*|text-wrap.*"
    r"|-premailer-.*|-webkit-text-decoration.*|white-space-collapse|orphans|text-combine-upright|list-style-image"
)
# The least and the most pixels that change no words, by property.
_RANGES = {
    **dict.fromkeys((f"{box}-{side}" for box in ("margin", "padding") for side in SIDES), (0, 120)),
    **dict.fromkeys(("border", "border-width", *(f"border-{side}" for side in SIDES),
                     *(f"border-{side}-width" for side in SIDES)), (0, 20)),
    "margin-left": (-8, 120), "font-size": (8, 60), "line-height": (10, 90), "letter-spacing": (-0.8, 5), "word-spacing": (0, 5),
    "text-indent": (0, 60), "text-underline-offset": (0, 6), "min-height": (0, 120), "min-width": (1, 900), "-webkit-text-stroke-width": (0, 0), "gap": (0, 60), "row-gap": (0, 60), "column-gap": (0, 60), "mso-text-raise": (-6, 20),
    "mso-margin-top-alt": (0, 60), "mso-margin-bottom-alt": (0, 60), "mso-padding-alt": (0, 90),
}  # fmt: skip
_WIDTHS = frozenset(("width", "max-width", "flex-basis"))
_WITH_SIZE = frozenset("table td th tr img hr col body".split())
# Fonts that draw something else than the letters.
_OTHER_LETTERS = re.compile(
    r"dings|symbol(?!s)|marlett|mt extra|barcode|code ?(?:39|128)|icon|awesome|redact|blank|zapf|bookshelf|flow"
)
_SYMBOLS_LAST = re.compile(
    r"[\"']?(?:segoe ui|apple color|noto color|twemoji) ?(?:symbol|emoji|mozilla)?[\"']?"
)


# Properties that only matter to the words inside; see `Look`.
OF_INSIDE = frozenset(
    "overflow overflow-x overflow-y height max-height text-overflow".split()
)


def is_judged_inside(declaration: Declaration) -> bool:
    """Whether what a declaration does is judged with the words inside of its element."""
    name, value, _ = declaration
    is_number = re.fullmatch("[0-9.]+", value) or pixels(value, whole=1) is not None
    is_font = name == "font-family" and draws_other_letters(value)
    return (
        name in OF_INSIDE
        or is_font
        or (name in ("font-size", "line-height") and bool(is_number))
    )


def draws_other_letters(fonts: str) -> bool:
    """Whether one of these fonts may draw letters as something else."""
    names = (one.strip(" ") for one in fonts.split(","))
    return any(
        _OTHER_LETTERS.search(one) and not _SYMBOLS_LAST.fullmatch(one) for one in names
    )


def is_harmless(
    declaration: Declaration, tag: str = "", held: Mapping[str, str] | None = None
) -> bool:
    """Whether a declaration that is not written changes no words in any mail program.

    `tag` is the element, `held` all that applies to it; both are empty for a rule, which
    may apply to anything.
    """
    name, value, _ = declaration
    if (pattern := _HARMLESS.get(name)) and pattern.fullmatch(value):
        return True
    if name in ("color", "background-color", "background"):
        usual = ("inherit", "initial", "none", "windowtext", "auto", "currentcolor")
        return value in usual or colour_of(value.removesuffix(" none")) is not None
    if name == "font-family":
        return not draws_other_letters(value)
    if name in ("font-size", "line-height") and (share := pixels(value, 1, 1)):
        if value.endswith(("em", "%")):
            return 0.8 <= share <= 4
    if name == "line-height" and held is None:
        return False
    if name == "text-indent" and held and (pixels(value) or 0) < 0:
        room = max(pixels(held[f"{box}-left"]) or 0 for box in ("margin", "padding"))
        return -(pixels(value) or 0) <= room
    if name in _RANGES:
        least, most = _RANGES[name]
        lengths = [pixels(one) for one in value.split(" ")]
        if name.startswith("border"):
            return all(one is None or one <= most for one in lengths)
        is_auto = value == "normal" or (value == "auto" and "margin" in name)
        share = pixels(value, whole=100) if value.endswith("%") else None
        return (
            is_auto
            or (share is not None and 0 <= share <= 20)
            or all(one is not None and least <= one <= most for one in lengths)
        )
    if name in _WIDTHS:
        length = pixels(value)
        is_wide = length is not None and 200 <= length <= 900
        if tag in _WITH_SIZE and length is None:
            return (pixels(value, whole=100) or 101) <= 100
        is_of_table = tag in _WITH_SIZE and (length or 0) <= 900
        return value in ("auto", "100%", "none") or is_wide or is_of_table
    if name in ("height", "max-height"):
        length = pixels(value)
        most = 600 if tag == "img" else 120
        has_size = tag in _WITH_SIZE and (length is None or length <= most)
        return value in ("auto", "100%") or has_size
    return _FREE.fullmatch(name) is not None
