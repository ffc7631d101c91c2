"""Reads what is ASCII by its specification, such as a media type, a token of HTTP or the
part of an address before the @. Python's own methods also take the Kelvin sign for a K,
and U+00A0 and U+001C for blanks. Pure.
"""

from string import ascii_lowercase, ascii_uppercase

_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)


def lowered(text: str) -> str:
    """Return `text` with the letters A to Z in lower case, and no others."""
    return text.translate(_SMALL)


def trimmed(text: str) -> str:
    """Return `text` without blanks, tabs and line ends of ASCII at both ends."""
    return text.strip(" \t\r\n")
