"""Reads CSS declarations. `properties.txt` says for each property which values the
simple form writes, and which others are usual in mail.

A value is compared in lower case. What is not plain ASCII, or cannot be read, becomes a
declaration with the name "?", which nothing applies.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import product
from operator import attrgetter
from typing import NamedTuple

import tinycss2

from simple_form.data import table
from simple_form.html_reading import Values, ascii_lower

ROOT_SIZE = 16.0
# Characters of a value that is read.
_LONGEST = 300
_LENGTH = re.compile(
    r"([+-]?(?:[0-9]{1,5}(?:\.[0-9]{1,6})?|\.[0-9]{1,6}))(px|pt|pc|in|cm|mm|rem|em|ex|%)?"
)
_NUMBER = re.compile(r"-?[0-9]{0,5}\.?[0-9]{0,6}(?<=[0-9])")
_GAPS = re.compile(r"(?:[ \t\n\r\f]|/\*\*/)+")
_RGB = re.compile("rgb\\(([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})\\)")
_FONT = re.compile(
    r"""(?x)
    (?:(?P<font_style>italic|oblique)[ ])?+ (?:(?P<font_weight>bold
    |[1-9]00)[ ])?+ (?:normal[ ])*+
    (?P<font_size>[0-9.]++(?:px|pt|em|%)|0) (?:[ ]?/[ ]?(?P<line_height>[0-9.]++(?:px
    |em|%)?))?+ [ ](?P<font_family>.+)
    """
)
_FONTS = defaultdict[str, set[str]](set)
for _kind, _font in table("fonts.txt"):
    _FONTS[_kind].add(_font)
# Properties that matter to the words inside of an element only; see `Look`.
CUTTING = "overflow overflow-x overflow-y height max-height text-overflow".split()
OF_INSIDE = {*CUTTING, "font-family", "font-size", "line-height"}


class Declaration(NamedTuple):
    """A property and its value."""

    name: str
    value: str
    important: bool = False


_PIXELS = {
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "in": 96.0,
    "cm": 37.8,
    "mm": 3.78,
    "rem": ROOT_SIZE,
}
# Shorthands: the property that they stand for, its value by default, and words that are
# left out.
_STAND_FOR = {
    "background": ("background-color", "transparent", "none"),
    "list-style": ("list-style-type", "disc", "inside|outside"),
    "text-decoration": ("text-decoration", "none", "solid"),
    "text-decoration-line": ("text-decoration", "none", "solid"),
}
# Kinds of words in the table, and its ranges.
_KINDS = {
    "hex": re.compile("#(?:[0-9a-f]{3}){1,2}"),
    "rgba": re.compile(r"rgba\((?:[0-9]{1,3},){3}(?:[01]|[01]?\.[0-9]+)\)"),
    "name": re.compile("[a-z]{3,20}"),
}
_RANGE = re.compile(
    r"(-?[0-9]{1,4}(?:\.[0-9]{1,4})?)\.\.([0-9]{1,4}(?:\.[0-9]{1,4})?)(px|%|n)"
)


class _Range(NamedTuple):
    least: float
    most: float
    unit: str

    def has(self, word: str) -> bool:
        unit = self.unit.replace("n", "")
        number = pixels(word) if unit == "px" else number_before(word, unit)
        return number is not None and self.least <= number <= self.most


class Allowed:
    """The values that a column of a table allows; see `properties.txt`."""

    def __init__(self, column: str) -> None:
        names = column.split(" ")
        self._most_words = 4 if "several" in names else 1
        self._kinds = [_KINDS[one] for one in names if one in _KINDS]
        matches = [_RANGE.fullmatch(one) for one in names]
        self._ranges = [
            _Range(float(one[1]), float(one[2]), one[3]) for one in matches if one
        ]
        self._words = frozenset(names) - {"-"}

    def has(self, value: str) -> bool:
        if "any" in self._words:
            return True
        words = value.split(" ")
        return len(words) <= self._most_words and all(map(self._has_word, words))

    def _has_word(self, word: str) -> bool:
        return (
            word in self._words
            or any(one.fullmatch(word) for one in self._kinds)
            or any(one.has(word) for one in self._ranges)
        )

    def written(self, value: str, size: float) -> str:
        """Return a value as it is written; empty if it is not."""
        length = pixels(value, size)
        if length is None:
            return value if self.has(value) else ""
        for least, most, unit in self._ranges:
            if unit == "px" and length >= least:
                return f"{round(min(length, most))}px"
        return ""


# By property and tag: the values that are written, and those that are usual.
_ALLOWED = defaultdict[tuple[str, str], list[tuple[Allowed, Allowed]]](list)
for _names, _tags, _written, _usual in table("properties.txt"):
    _columns = (Allowed(_written), Allowed(_usual))
    for _key in product(_names.split(), _tags.split()):
        _ALLOWED[_key].append(_columns)
_PATTERNS = sorted((one for one, _ in _ALLOWED if "*" in one), key=len, reverse=True)


def _allowed(name: str, tag: str) -> list[tuple[Allowed, Allowed]]:
    """Return what is allowed of a property, that for the tag first."""
    if found := [*_ALLOWED.get((name, tag), ()), *_ALLOWED.get((name, "*"), ())]:
        return found
    return next((_ALLOWED[one, "*"] for one in _PATTERNS if fnmatchcase(name, one)), [])


def written_value(name: str, tag: str, value: str, size: float) -> str:
    """Return the value that is written for a property of a tag; empty if none is."""
    allowed = _allowed(name, tag)
    return allowed[0][0].written(value, size) if allowed else ""


@lru_cache(maxsize=4096)
def is_usual(declaration: Declaration, tag: str = "div", room: float = 0) -> bool:
    """Whether a declaration is usual in mail, and hardly ever changes words. It is about
    elements with this tag and so much room before their words; without, about any.
    """
    name, value, _ = declaration
    if name == "font-family":
        return not draws_other_letters(value)
    if name == "text-indent" and -room <= (pixels(value) or 0) < 0:
        return True
    allowed = _allowed(name, tag)
    if (
        allowed
        and "color" not in name
        and value in ("inherit", "initial", "unset", "revert")
    ):
        return True
    return any(column.has(value) for columns in allowed for column in columns)


def fonts_of(value: str) -> list[str]:
    """Return the fonts that a `font-family` names."""
    return [one.strip(" \"'") for one in value.split(",")]


def plain_fonts(value: str) -> list[str]:
    """Return those fonts of a `font-family` that draw letters as they are."""
    return [one for one in fonts_of(value) if one in _FONTS["plain"]]


def draws_other_letters(value: str) -> bool:
    """Whether a font of a `font-family` may draw letters as something else."""
    names = set(fonts_of(value)) - _FONTS["letters"]
    return any(part in name for name, part in product(names, _FONTS["signs"]))


def number_before(word: str, unit: str) -> float | None:
    """Return the number before a unit, which may be empty; None if it is none."""
    number = word.removesuffix(unit)
    is_number = word.endswith(unit) and _NUMBER.fullmatch(number)
    return float(number) if is_number else None


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
            value = ascii_lower(value).replace(", ", ",")
            value = _RGB.sub(_in_hex, value)
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
