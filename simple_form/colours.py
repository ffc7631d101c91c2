"""Reads colours as CSS and old HTML attributes write them, and computes the contrast of
two colours as WCAG defines it.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from tinycss2.color4 import parse_color

# Contrasts: below the first nobody can read a text. The simple form keeps colours from
# the second on, and replaces others.
UNREADABLE = 1.5
READABLE = 2.2


class Colour(NamedTuple):
    """Red, green, blue and opacity, each from 0 to 1."""

    red: float
    green: float
    blue: float
    alpha: float = 1.0

    def written(self) -> str:
        """Return it as CSS, without its opacity."""
        return "#" + "".join(f"{round(255 * part):02x}" for part in self[:3])


WHITE = Colour(1, 1, 1)
BLACK = Colour(0, 0, 0)
LINK = Colour(0, 0, 238 / 255)


@lru_cache(maxsize=2048)
def colour_of(value: str) -> Colour | None:
    """Return the colour that a CSS value names; None if it is no colour, or none that
    can be given in sRGB.
    """
    if "," in value:
        # In the form with commas, browsers accept no `none`, and percentages for all
        # parts or for none.
        parts = value.partition("(")[2].split(",")[:3]
        shares = sum("%" in one for one in parts)
        usual = (2,) if value.startswith("hsl") else (0, 3)
        is_known = value.startswith(("rgb", "hsl")) and shares in usual
        if "none" in value or not is_known:
            return None
    try:
        read = parse_color(value)
        if read is None or isinstance(read, str):
            return None
        mixed = [*read.to("srgb").coordinates, read.alpha]
    except (NotImplementedError, ValueError, ArithmeticError):
        return None
    if any(part is None for part in mixed):
        return None
    return Colour(*(min(max(float(part), 0.0), 1.0) for part in mixed))


@lru_cache(maxsize=4096)
def over(colour: Colour, background: Colour) -> Colour:
    """Return what a colour looks like when it is laid over an opaque background."""
    mixed = (
        upper * colour.alpha + lower * (1 - colour.alpha)
        for upper, lower in zip(colour[:3], background[:3], strict=True)
    )
    return Colour(*mixed)


@lru_cache(maxsize=4096)
def contrast(first: Colour, second: Colour) -> float:
    """Return the contrast of two opaque colours as WCAG 2 defines it, from 1 to 21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Colour) -> float:
    luminance = 0.0
    for part, weight in zip(colour, (0.2126, 0.7152, 0.0722), strict=False):
        linear = part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        luminance += weight * linear
    return luminance


def attribute_colour(value: str) -> str:
    """Return the CSS form of an old `color` or `bgcolor` attribute. Browsers read any
    word there as some colour, by a rule of the HTML standard.
    """
    if value and not value.strip(" \t\n\f\r"):
        return "#000000"
    value = value.strip(" \t\n\f\r").lower()
    is_css = len(value) in (4, 7) if value.startswith("#") else value.isalpha()
    if not value or (is_css and colour_of(value) is not None):
        return value
    wide = re.sub("[^\0-\uffff]", "00", value)[:128].removeprefix("#")
    digits = re.sub("[^0-9a-f]", "0", wide)
    digits = digits.ljust(max(3, -(-len(digits) // 3) * 3), "0")
    third = len(digits) // 3
    parts = [digits[i * third : (i + 1) * third][-8:] for i in range(3)]
    while len(parts[0]) > 2 and all(part[0] == "0" for part in parts):
        parts = [part[1:] for part in parts]
    return "#" + "".join(part[:2].rjust(2, "0") for part in parts)
