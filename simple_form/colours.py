"""Reads the colours of CSS, and computes the contrast of two colours as WCAG 2 defines
it.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from tinycss2.color4 import parse_color

# Contrasts: below the first, words count as hidden. The simple form keeps colours from
# the second on, and replaces others.
UNREADABLE = 1.5
READABLE = 2.0
_ORDINARY = re.compile(r"[a-z]++|#[0-9a-f]{3,8}+|(?:rgb|hsl)a?\((?:[0-9., %/]|deg)++\)")


class Colour(NamedTuple):
    """Red, green and blue, each from 0 to 255."""

    red: int
    green: int
    blue: int

    def __str__(self) -> str:
        return f"#{bytes(self).hex()}"


WHITE = Colour(255, 255, 255)
BLACK = Colour(0, 0, 0)
LINK = Colour(0, 0, 238)


@lru_cache(maxsize=2048)
def colour_of(value: str, behind: Colour) -> Colour | None:
    """Return what the colour of a CSS value, in lower case, looks like on another one;
    None if it is none that every mail program knows.
    """
    if value == "windowtext":
        return BLACK
    read = parse_color(value) if _ORDINARY.fullmatch(value) else None
    if read is None or isinstance(read, str):
        return None
    return Colour(
        *(
            round(under + (min(max(part, 0.0), 1.0) * 255 - under) * read.alpha)
            for part, under in zip(read.to("srgb").coordinates, behind, strict=True)
        )
    )


@lru_cache(maxsize=4096)
def contrast(first: Colour, second: Colour) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    darker, lighter = sorted(map(_luminance, (first, second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Colour) -> float:
    # WCAG computes the darkest shades in another way. They differ by less than 0.001.
    red, green, blue = (((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour)
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def readable(ink: Colour, back: Colour) -> Colour:
    """Return `ink` if it can be read on `back`, else black or white."""
    if contrast(ink, back) >= READABLE:
        return ink
    return WHITE if _luminance(back) < 0.18 else BLACK
