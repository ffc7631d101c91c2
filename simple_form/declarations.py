"""Reads CSS declarations. For each property, a table says which values the simple form
writes, and which others change no words in any mail program.

A value is compared in lower case. What is not plain ASCII, or cannot be read, becomes a
declaration with the name "?", which nothing applies.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from operator import attrgetter
from typing import NamedTuple

import tinycss2

from simple_form.html_reading import Values, ascii_lower

ROOT_SIZE = 16.0
# Characters of a value that is read.
_LONGEST = 300
_LENGTH = re.compile(
    r"([+-]?(?:[0-9]{1,5}(?:\.[0-9]{1,6})?|\.[0-9]{1,6}))(px|pt|pc|in|cm|mm|rem|em|ex|%)?"
)
_GAPS = re.compile(r"(?:[ \t\n\r\f]|/\*\*/)+")
_RGB = re.compile("rgb\\(([0-9]{1,3}), ?([0-9]{1,3}), ?([0-9]{1,3})\\)")
_FONT = re.compile(
    r"""(?x)
    (?:(?P<font_style>italic|oblique)[ ])?+ (?:(?P<font_weight>bold
    |[1-9]00)[ ])?+ (?:normal[ ])*+
    (?P<font_size>[0-9.]++(?:px|pt|em|%)|0) (?:[ ]?/[ ]?(?P<line_height>[0-9.]++(?:px
    |em|%)?))?+ [ ](?P<font_family>.+)
    """
)
# Properties that change no words, whatever their value.
_FREE = re.compile(
    r"""(?x)
    font-(?:stretch|kerning|optical-sizing)|cursor|orphans|widows|page|word-(?:break
    |wrap)|overflow-wrap|line-break
    |border-(?:collapse|spacing|color|style|image|(?:top|right|bottom|left)-(?:color
    |style))|(?:border-.*|border)radius
    |box-sizing|text-rendering|caret-color|(?:-webkit-|-moz-osx-)font-smoothing
    |-ms-interpolation-mode
    |text-decoration-(?:style|color|skip-ink)|transition|-webkit-(?:tap-highlight-color
    |nbsp-mode|line-break)
    |background-(?:repeat|position|size|attachment|origin)|empty-cells|hyphens|clear
    |tab-size|-webkit-user-[a-z]+
    |object-fit|(?:page-)?break-[a-z]+|resize|user-select|outline-(?:color|style)
    |panose-1|list-style-image|ms-.*
    |mso-(?!hide|data-placement|margin|padding|text-raise|font-width|char|table-overlap
    |element|special|line-height-alt).*
    |tab-stops|layout-grid.*|punctuation-wrap|text-(?:justify.*|autospace|underline
    |wrap.*|combine-upright)
    |cells|scrollbar-.*|-premailer-.*|-webkit-text-decoration.*|white-space-collapse
    """
)
# Fonts that may draw letters as something else.
OTHER_LETTERS = re.compile(
    r"""(?x)
    (?:^|,)(?![ "']*(?:segoe[ ]ui|apple[ ]color|noto[ ]color|twemoji)[ ]?(?:symbol
    |emoji|mozilla)?[ "']*(?:,|$))[^,]*
    (?:dings|symbol(?!s)|marlett|mt[ ]extra|barcode|code[ ]?(?:39|128)|icon|awesome
    |redact|blank|zapf|bookshelf|flow)
    """
)
# Properties that matter to the words inside of an element only; see `Look`.
CUTTING = "overflow overflow-x overflow-y height max-height text-overflow".split()
OF_INSIDE = {*CUTTING, "font-family", "font-size", "line-height"}


class Declaration(NamedTuple):
    """A property and its value."""

    name: str
    value: str
    important: bool = False


class _Allowed(NamedTuple):
    """Values that a column of the table allows: words, and pixels."""

    words: re.Pattern[str]
    least: float
    most: float

    def has(self, value: str) -> bool:
        length = pixels(value)
        is_within = length is not None and self.least <= length <= self.most
        return is_within or self.words.fullmatch(value) is not None

    def written(self, value: str, size: float) -> str:
        if self.words.fullmatch(value):
            return value
        length = pixels(value, size)
        if length is None or length < self.least:
            return ""
        return f"{round(min(length, self.most))}px"


def rows(table: str) -> Iterator[list[str]]:
    """Yield the lines of a table as columns, which stand two blanks apart. A line that
    begins with blanks goes on with the row above it.
    """
    for line in table.replace("\n  ", "  ").strip().splitlines():
        yield re.split("  +", line)


_PIXELS = {
    unit: float(number)
    for unit, number in rows("""
px     1
pt     1.333333
pc     16
in     96
cm     37.8
mm     3.78
rem    16
""")
}
# Shorthands: the property that they stand for, its value by default, and words that are
# left out.
_STAND_FOR = {
    name: columns
    for name, *columns in rows("""
background              background-color    transparent    none
list-style              list-style-type     disc           inside|outside
text-decoration         text-decoration     none           solid|#[0-9a-f]{6}
text-decoration-line    text-decoration     none           solid
""")
}
# Properties, the tags that a line is about (* for all), values that are written, and
# other harmless ones. In 0..48 pixels, more is written as 48, and less is left out.
_ALLOWED = defaultdict[tuple[str, str], list[_Allowed]](list)
for _names, _tags, *_columns in rows(r"""
color background-color    *    -
        inherit|transparent|#([0-9a-f]{3}){1,2}
color background-color    *    -
        rgba\(([0-9]{1,3}, ?){3}([01]|[01]?\.[0-9]+)\)|(dark|light)?gr[ae]y|(dark)?(red|blue|green)
color background-color    *    -
        aqua|black|fuchsia|gold|lime|maroon|navy|olive|orange|pink|purple|silver|teal|white|yellow
color                     *    -    currentcolor|windowtext
font-style              *        italic|normal                  oblique
font-weight             *        normal|bold|[1-9]00            bolder|lighter
text-align              *        left|right|center|justify
        (-webkit-)?(left|right|center)|start|end
text-transform          *        none|uppercase|lowercase|capitalize     -
text-decoration         *        none|underline
        line-through|underline line-through
vertical-align          *        top|middle|bottom|baseline
        text-top|text-bottom|super|sub
list-style-type         *        -
        none|disc|circle|square|decimal|(low|upp)er-(alpha|roman)
list-style-type         ol ul    none|disc|circle|square|decimal|(low|upp)er-(alpha|roman)
        -
list-style-type         li       none|disc|circle|square        -
margin-top margin-bottom    *    0..64    auto|(1?[0-9]|20)% 0..120
padding-top padding-bottom  *    -        0..4
padding-top padding-bottom  a b  0..64    0..120
padding-top padding-bottom
        blockquote dd div dl dt h1 h2 h3 h4 h5 h6 hr img li ol p pre table tbody td th tr ul
        0..64    auto|(1?[0-9]|20)% 0..120
margin-right padding-left padding-right                 *  0..48
        auto|(1?[0-9]|20)% 0..120
margin-left                                             *  0..48
        auto|(1?[0-9]|20)% -8..120
margin-left margin-right                        table div  auto 0..48    -
border border-top border-right border-bottom border-left    *
        ((solid|dashed|dotted|double|none|0|[0-4](\.[0-9]+)?(px|pt)|#[0-9a-f]{3,8}|[a-z]{3,20})( |$)){1,3}
        ((0|(1?[0-9]|20)?(\.[0-9]+)?(px|pt)|[a-z]+|#[0-9a-f]+|rgba?\([0-9., %]+\))( |$))+
border border-top border-right border-bottom border-left    a
        ((solid|none|0|(1?[0-9]|20)(px|pt)|#[0-9a-f]{3,8}|[a-z]{3,20})( |$)){1,3}    -
border-width            *        -
        ((0|(1?[0-9]|20)?(\.[0-9]+)?(px|pt)|[a-z]+)( |$))+
border-top-width border-right-width border-bottom-width border-left-width    *  -
        thin|medium 0..20
border-radius           *                              0..12                    .*
border-collapse         table                          collapse                 .*
width                   td th                          [1-9][0-9]?%|100% 20..800    -
width                   table                          [1-9][0-9]?%|100%        -
width                   img                            [1-9][0-9]?%|100%        -
max-width               table img                      20..800                  -
max-width               td th                          150..800                 -
max-width               div p                          200..800                 -
width                   table td th tr img hr col       -
        auto|(100|[1-9]?[0-9])(\.[0-9]+)?% 0..900
max-width               table tr img hr col             -
        auto|(100|[1-9]?[0-9])(\.[0-9]+)?% 0..900
width max-width flex-basis                    *        -    auto|100%|none 200..900
height max-height       table td th tr hr col body     -
        auto|[0-9]{1,4}(\.[0-9]+)?% 0..120
height max-height       img                            -    auto|[0-9]{1,4}% 0..800
height max-height       *        -    auto|100%
min-height              *        -    auto|100% 0..120
min-width               *        -    0|auto|100% 1..900
gap row-gap column-gap  *        -    normal|[0-6]?[0-9]px [0-6]?[0-9]px 0..60
font-size               *        -
        (xx?-)?(small|large)|medium|smaller|larger|([5-9]|[1-3][0-9])[0-9]%| 8..60
line-height             *        -    normal|[1-3](\.[0-9]{1,4})?
text-indent             *        -    0..60
letter-spacing          *        -    normal -0.8..5
overflow-wrap           span     anywhere    .*
word-spacing            *        -    normal 0..5
white-space             *        -    normal|nowrap|pre|pre-wrap|pre-line|break-spaces
display    blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr img li ol p pre span table ul    -
        block|inline-(block|table)|table(-cell|-row)?|list-item
display    a b code em i s strong sub sup u    -
        block|inline-(block|table)|table(-cell|-row)?|list-item
display                 td th     -    block|table-cell
display                 tr       -    table-row
display                 tbody    -    table(-row|-header|-footer)-group
display                 span a b i em strong u s sub sup code img    -    inline
display                 div p span a h1 h2 h3 ul ol i b    -    (inline-)?flex|grid
direction               *        -    ltr|rtl|auto
unicode-bidi            *        -    normal|embed
overflow overflow-x overflow-y    *    -    visible|auto|scroll
visibility              *        -    visible
float                   *        -    none|center
float                   img      -    left
position                *        -    static|relative
top right bottom left   *        -    auto|0|0px
table-layout            *        -    auto
list-style-position     *        -    inside|outside
z-index                 *        -    auto|[0-9]+
opacity                 *        -    1(\.0)?|0?\.[89][0-9]?
font-variant font-variant-caps font-variant-ligatures font-variant-numeric    *    -
        normal|none|small-caps|[a-z]+-nums
font-variant-east-asian font-variant-alternates font-variant-position font-variant-emoji    *    -
        normal|none
font-feature-settings font-variation-settings font-size-adjust    *    -    normal|none
background-image text-shadow box-shadow outline transform filter    *    -    none|0|0px
-webkit-text-stroke -webkit-text-stroke-width                       *    -    none|0|0px
-webkit-text-size-adjust text-size-adjust -ms-text-size-adjust      *    -
        auto|none|100%
flex-direction          *        -    row|column
flex-wrap               *        -    wrap|nowrap
justify-content         *        -    normal|(flex-)?start|space-[a-z]+|stretch
align-items align-self align-content    *    -
        normal|(flex-)?start|center|space-[a-z]+|stretch|baseline
flex flex-grow flex-shrink    *    -    [01]|auto|none|[01] [01] (auto|0|0%|0px)
grid-template-columns   *        -    (repeat\([1-6], ?)?([1-9]fr ?|auto ?)+\)?
text-underline-offset   *        -    0..6
mso-text-raise          *        -    -6..20
mso-line-height-alt     *        -    normal|[1-3](\.[0-9]{1,4})?
mso-margin-top-alt mso-margin-bottom-alt    *    -    auto 0..90
mso-padding-alt         *        -    ([0-9]{0,2}(\.[0-9]+)?(pt|px|cm)?( |$)|0in( |$))+
"""):
    for _column in _columns:
        _words, _least, _most = re.split(
            r" ?(-?[0-9.]{1,4}?)\.\.([0-9.]{1,4})|$", _column
        )[:3]
        _allowed = _Allowed(
            re.compile(_words), float(_least or "inf"), float(_most or "inf")
        )
        for _key in product(_names.split(), _tags.split()):
            _ALLOWED[_key].append(_allowed)


def written_value(name: str, tag: str, value: str, size: float) -> str:
    """Return the value that is written for a property of a tag; empty if none is."""
    columns = _ALLOWED.get((name, tag)) or _ALLOWED.get((name, "*"))
    return columns[0].written(value, size) if columns else ""


@lru_cache(maxsize=4096)
def is_harmless(declaration: Declaration, tag: str = "div", room: float = 0) -> bool:
    """Whether a declaration changes no words in any mail program. It is about elements
    with this tag and so much room before their words; without, about any.
    """
    name, value, _ = declaration
    if name == "font-family":
        return OTHER_LETTERS.search(value) is None
    if name == "text-indent" and -room <= (pixels(value) or 0) < 0:
        return True
    columns = (*_ALLOWED.get((name, tag), ()), *_ALLOWED.get((name, "*"), ()))
    if not columns:
        return _FREE.fullmatch(name) is not None
    if "color" not in name and value in ("inherit", "initial", "unset", "revert"):
        return True
    return any(one.has(value) for one in columns)


@lru_cache(maxsize=4096)
def pixels(
    value: str, size: float = ROOT_SIZE, whole: float | None = None
) -> float | None:
    """Return a length in pixels; None if it is none. `size` is the font size for em,
    `whole` what percentages are of.
    """
    match = _LENGTH.fullmatch(value)
    if match is None or (match[2] == "%" and whole is None):
        return None
    units = _PIXELS | {"em": size, "ex": size / 2, "%": (whole or 0) / 100}
    number = float(match[1])
    if not match[2]:
        return None if number else number
    return number * units[match[2]]


def declarations_of(content: str | list[tinycss2.ast.Node]) -> list[Declaration]:
    """Return the declarations of a style attribute, or those in a rule; shorthands as
    what they stand for.
    """
    found = []
    for node in tinycss2.parse_blocks_contents(content, skip_comments=True):
        if node.type == "declaration":
            value = _GAPS.sub(" ", tinycss2.serialize(node.value)).strip(" ")
            value = _RGB.sub(_in_hex, ascii_lower(value))
            for name, one in _expanded(node.lower_name, value):
                found.append(Declaration(name, one, node.important))
        elif node.type != "whitespace":
            found.append(Declaration("?", node.type))
    return found


def _in_hex(match: re.Match[str]) -> str:
    return f"#{bytes(min(int(one), 255) for one in match.groups()).hex()}"


def _expanded(name: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield the properties that a declaration sets, with their values."""
    words = value.split(" ")
    is_ascii = name.isascii() and (value.isascii() or name == "font-family")
    if not is_ascii or len(value) > _LONGEST:
        yield "?", name
    elif name in ("margin", "padding") and len(words) <= 4:
        if len(words) == 3:
            words.append(words[1])
        for side, one in zip("top right bottom left".split(), words * 4, strict=False):
            yield f"{name}-{side}", one
    elif name == "font" and (match := _FONT.fullmatch(value)):
        for part, one in match.groupdict("").items():
            if one:
                yield part.replace("_", "-"), one
    elif name in _STAND_FOR:
        stands_for, usual, ignored = _STAND_FOR[name]
        kept = (one for one in words if not re.fullmatch(ignored, one))
        yield stands_for, " ".join(kept) or usual
    else:
        yield name, value


def held_by(declarations: Iterable[Declaration]) -> Values:
    """Return the value that applies of each property; later ones win."""
    held = Values()
    for one in sorted(declarations, key=attrgetter("important")):
        held[one.name] = one.value
    return held
