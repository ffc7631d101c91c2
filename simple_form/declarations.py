"""Reads CSS declarations. For each property, `_TABLE` says which values the simple form
writes, and which others change no words in any mail program.

A value is compared in lower case. What is not plain ASCII, or cannot be read, becomes a
declaration with the name "?", which nothing applies.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from operator import attrgetter
from typing import NamedTuple

import tinycss2

from simple_form.colours import colour_of
from simple_form.html_reading import Values, ascii_lower

SIDES = ("top", "right", "bottom", "left")
ROOT_SIZE = 16.0
# Characters of a value that is read.
_LONGEST = 300
_LENGTH = re.compile(r"([+-]?(?:[0-9]{1,5}(?:\.[0-9]{1,6})?|\.[0-9]{1,6}))([a-z]*|%)")
_PIXELS = {"px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 37.8, "mm": 3.78, "rem": ROOT_SIZE}  # fmt: skip
_FONT = re.compile(
    r"(?:(?P<style>italic|oblique)[ ])?+(?:(?P<weight>bold|[1-9]00)[ ])?+(?:normal[ ])*+"
    r"(?P<size>[0-9.]++(?:px|pt|em|%)|0)(?:[ ]?/[ ]?(?P<line>[0-9.]++(?:px|em|%)?))?+[ ](?P<family>.+)"
)
# Shorthands: the property that they stand for, its value by default, and words that are
# left out.
_SHORTHANDS = {
    "background": ("background-color", "transparent", "none"),
    "list-style": ("list-style-type", "disc", "inside|outside"),
    "text-decoration": ("text-decoration", "none", "solid|#[0-9a-f]{6}"),
    "text-decoration-line": ("text-decoration", "none", "solid"),
}
# Properties, the tags that a line is about (* for all), values that are written, and
# other harmless ones. In 0..48 pixels, more is written as 48, and less is left out.
_TABLE = r"""
font-style              *        italic|normal                  oblique
font-weight             *        normal|bold|[1-9]00            bolder|lighter
text-align              *        left|right|center|justify      (-webkit-)?(left|right|center)|start|end
text-transform          *        none|uppercase|lowercase|capitalize     -
text-decoration         *        none|underline|line-through    underline line-through
vertical-align          *        top|middle|bottom|baseline     text-top|text-bottom|super|sub
list-style-type         *        -              none|disc|circle|square|decimal|(low|upp)er-(alpha|roman)
list-style-type         ol ul    none|disc|circle|square|decimal|(low|upp)er-(alpha|roman)     -
list-style-type         li       none|disc|circle|square        -
margin-top margin-bottom padding-top padding-bottom     *  0..64         auto|(1?[0-9]|20)% 0..120
margin-right padding-left padding-right                 *  0..48         auto|(1?[0-9]|20)% 0..120
margin-left                                             *  0..48         auto|(1?[0-9]|20)% -8..120
margin-left margin-right                        table div  auto 0..48    -
padding-left                                        ol ul  0[a-z]*       -
border border-top border-right border-bottom border-left    *  -    [a-z]+|#[0-9a-f]+ 0..20
border-width border-top-width border-right-width border-bottom-width border-left-width    *  -    [a-z]+ 0..20
border-radius           *                              0..12                    .*
border-collapse         table                          collapse                 .*
width                   td th                          [1-9][0-9]?%|100% 20..800    -
width                   table                          [1-9][0-9]?%|100%        -
max-width               td th table                    20..800                  -
max-width               div p                          200..800                 -
width max-width         table td th tr img hr col       -  auto|(100|[1-9]?[0-9])(\.[0-9]+)?% 0..900
width max-width flex-basis                    *        -    auto|100%|none 200..900
height max-height       table td th tr hr col body     -    auto|[0-9]{1,4}(\.[0-9]+)?% 0..120
height max-height       img                            -    auto|[0-9]{1,4}% 0..800
height max-height       *        -    auto|100%
min-height              *        -    auto|100% 0..120
min-width               *        -    0|auto|100% 1..900
gap row-gap column-gap  *        -    normal 0..60
font-size               *        -    (xx?-)?(small|large)|medium|smaller|larger 8..60
line-height             *        -    normal|[1-3](\.[0-9]{1,4})?
text-indent             *        -    0..60
letter-spacing          *        -    normal -0.8..5
word-spacing            *        -    normal 0..5
white-space             *        -    normal|nowrap|pre|pre-wrap|pre-line|break-spaces
display                 *        -    block|inline(-block|-table|-flex)?|table(-cell|-row)?|list-item|flex|grid
direction               *        -    ltr|rtl
unicode-bidi            *        -    normal|embed
overflow overflow-x overflow-y    *    -    visible|auto|scroll
visibility              *        -    visible
float                   *        -    none|left
position                *        -    static|relative
top right bottom left   *        -    auto|0|0px
table-layout            *        -    auto
list-style-position     *        -    inside|outside
z-index                 *        -    auto|[0-9]+
opacity                 *        -    1(\.0)?|0?\.[89][0-9]?
font-variant font-variant-caps font-variant-ligatures font-variant-numeric  *  -  normal|none|small-caps|[a-z]+-nums
font-variant-east-asian font-variant-alternates font-variant-position font-variant-emoji    *    -    normal|none
font-feature-settings font-variation-settings font-size-adjust    *    -    normal|none
background-image text-shadow box-shadow outline transform filter    *    -    none|0|0px
-webkit-text-stroke -webkit-text-stroke-width                       *    -    none|0|0px
-webkit-text-size-adjust text-size-adjust -ms-text-size-adjust      *    -    auto|none|100%
flex-direction          *        -    row|column
flex-wrap               *        -    wrap|nowrap
justify-content align-items align-self align-content  *  -  normal|(flex-)?start|center|space-[a-z]+|stretch|baseline
flex flex-grow flex-shrink    *    -    [01]|auto|none|[01] [01] (auto|0|0%|0px)
grid-template-columns   *        -    (repeat\([1-6], ?)?([1-9]fr ?|auto ?)+\)?
text-underline-offset   *        -    0..6
mso-text-raise          *        -    -6..20
mso-line-height-alt     *        -    normal|[1-3](\.[0-9]{1,4})?
mso-margin-top-alt mso-margin-bottom-alt mso-padding-alt    *    -    auto 0..90
"""
# Properties that change no words, whatever their value.
_FREE = re.compile(
    r"""
    font-(?:stretch|kerning|optical-sizing)|cursor|orphans|widows|page|word-(?:break|wrap)|overflow-wrap|line-break
    |border-(?:collapse|spacing|color|style|image|(?:top|right|bottom|left)-(?:color|style))|(?:border-.*|border)radius
    |box-sizing|text-rendering|caret-color|(?:-webkit-|-moz-osx-)font-smoothing|-ms-interpolation-mode
    |text-decoration-(?:style|color|skip-ink)|transition|-webkit-(?:tap-highlight-color|nbsp-mode|line-break)
    |background-(?:repeat|position|size|attachment|origin)|empty-cells|hyphens|clear|tab-size|-webkit-user-[a-z]+
    |object-fit|(?:page-)?break-[a-z]+|resize|user-select|outline-(?:color|style)|panose-1|list-style-image|ms-.*
    |mso-(?!hide|data-placement|margin|padding|text-raise|font-width|char|table-overlap|element|special|line-height-alt).*
    |tab-stops|layout-grid.*|punctuation-wrap|text-(?:justify.*|autospace|underline|wrap.*|combine-upright)
    |scrollbar-.*|-premailer-.*|-webkit-text-decoration.*|white-space-collapse
    """,
    re.VERBOSE,
)
_EVERYWHERE = frozenset(("inherit", "initial", "unset", "revert"))
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


class Declaration(NamedTuple):
    """A property and its value."""

    name: str
    value: str
    important: bool = False


class _Allowed(NamedTuple):
    """Values that a column of `_TABLE` allows: words, and pixels."""

    words: re.Pattern[str]
    least: float
    most: float

    def has(self, value: str) -> bool:
        if self.words.fullmatch(value):
            return True
        parts = re.sub(r"\([^()]*\)", "", value).split(" ")
        return self.most > 0 and all(map(self._has_part, parts))

    def _has_part(self, part: str) -> bool:
        length = pixels(part)
        if length is None:
            return self.words.fullmatch(part) is not None
        return self.least <= length <= self.most

    def written(self, value: str, size: float) -> str:
        if self.words.fullmatch(value):
            return value
        length = pixels(value, size)
        if length is None or length < self.least:
            return ""
        return f"{round(min(length, self.most))}px"


# By property and tag: what is written, and what else is harmless.
_ALLOWED: dict[tuple[str, str], list[_Allowed]] = {}


def rows(table: str) -> Iterator[list[str]]:
    """Yield the lines of a table as columns, which stand two blanks apart."""
    for line in table.strip().splitlines():
        yield re.split("  +", line)


def _read_table() -> None:
    for names, tags, *columns in rows(_TABLE):
        allowed = []
        for column in columns:
            words, limits = column, ".."
            if ".." in column:
                words, _, limits = column.rpartition(" ")
            least, _, most = limits.partition("..")
            one = _Allowed(
                re.compile(words), float(least or "inf"), float(most or "-inf")
            )
            allowed.append(one)
        for key in product(names.split(), tags.split()):
            _ALLOWED.setdefault(key, []).extend(allowed)


def written_value(name: str, tag: str, value: str, size: float) -> str:
    """Return the value that is written for a property of a tag; empty if none is."""
    columns = _ALLOWED.get((name, tag)) or _ALLOWED.get((name, "*"))
    return columns[0].written(value, size) if columns else ""


@lru_cache(maxsize=4096)
def is_harmless(declaration: Declaration, tag: str = "", room: float = 0) -> bool:
    """Whether a declaration changes no words in any mail program. It is about elements
    with this tag and so much room before their words; without, about any.
    """
    name, value, _ = declaration
    if name == "color" and value in (
        "inherit",
        "initial",
        "windowtext",
        "currentcolor",
    ):
        return True
    if name == "background-color" and value in ("inherit", "initial"):
        return True
    if name in ("color", "background-color"):
        return colour_of(value) is not None
    if name == "font-family":
        return not draws_other_letters(value)
    if name == "text-indent" and (length := pixels(value) or 0) < 0:
        return -length <= room
    columns = (*_ALLOWED.get((name, tag), ()), *_ALLOWED.get((name, "*"), ()))
    if not columns:
        return _FREE.fullmatch(name) is not None
    return value in _EVERYWHERE or any(one.has(value) for one in columns)


def draws_other_letters(fonts: str) -> bool:
    """Whether one of these fonts may draw letters as something else."""
    names = (one.strip(" ") for one in fonts.split(","))
    return any(
        _OTHER_LETTERS.search(one) and not _SYMBOLS_LAST.fullmatch(one) for one in names
    )


def is_judged_inside(declaration: Declaration) -> bool:
    """Whether what a declaration does is judged with the words inside of its element."""
    name, value, _ = declaration
    if name in ("font-size", "line-height"):
        return pixels(value, whole=1) is not None or value.isdecimal()
    return name in OF_INSIDE or (name == "font-family" and draws_other_letters(value))


@lru_cache(maxsize=4096)
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
    units = {**_PIXELS, "em": size, "ex": size / 2}
    if whole is not None:
        units["%"] = whole / 100
    if number == 0 and not unit:
        return 0.0
    return number * units[unit] if unit in units else None


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
        is_family = node.lower_name == "font-family"
        is_ascii = node.lower_name.isascii() and (value.isascii() or is_family)
        if not is_ascii or len(value) > _LONGEST:
            found.append(Declaration("?", f"{node.lower_name}: {value}"[:60]))
            continue
        for name, one in _expanded(node.lower_name, ascii_lower(value)):
            found.append(Declaration(name, one, node.important))
    return tuple(found)


def declarations_of(text: str) -> tuple[Declaration, ...]:
    """Return the declarations of a style attribute."""
    return read_declarations(tinycss2.parse_blocks_contents(text, skip_comments=True))


def _expanded(name: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield the properties that a declaration sets, with their values."""
    words = value.split(" ")
    if name in ("margin", "padding") and len(words) <= 4:
        # One to four values: top, right, bottom and left.
        sides = {1: "0000", 2: "0101", 3: "0121", 4: "0123"}[len(words)]
        for side, at in zip(SIDES, sides, strict=True):
            yield f"{name}-{side}", words[int(at)]
    elif name == "font" and (match := _FONT.fullmatch(value)):
        for part in ("style", "weight", "size", "line", "family"):
            if match[part]:
                yield "line-height" if part == "line" else f"font-{part}", match[part]
    elif name in _SHORTHANDS:
        name, usual, ignored = _SHORTHANDS[name]
        kept = [one for one in words if not re.fullmatch(ignored, one)]
        yield name, " ".join(kept) or usual
    else:
        yield name, value


def held_by(declarations: Iterable[Declaration]) -> Values:
    """Return the value that applies of each property; later ones win."""
    held = Values()
    for one in sorted(declarations, key=attrgetter("important")):
        held[one.name] = one.value
    return held


_read_table()
