"""Numbers as letters and in Roman, as lists and the columns of sheets have them."""

import re

_ROMAN = "1000m 900cm 500d 400cd 100c 90xc 50l 40xl 10x 9ix 5v 4iv 1i"


def column_name(column: int) -> str:
    """Return the letters of a sheet's column, such as AB; the first column is 1."""
    letters = ""
    while column > 0:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def numeral(number: int, kind: str) -> str:
    """Return a number as letters or in Roman, if its kind ("lowerLetter", "I",
    "upper-alpha") says so.
    """
    word = str(number)
    if kind in "lowerLetter upperLetter a A lower-alpha upper-alpha".split():
        word = column_name(number).lower() or word
    elif kind in "lowerRoman upperRoman i I lower-roman upper-roman".split() and (
        0 < number < 4000
    ):
        word = ""
        for value, letters in re.findall("(?<![0-9])([0-9]++)([a-z]++)", _ROMAN):
            times, number = divmod(number, int(value))
            word += letters * times
    return word.upper() if kind.startswith("upper") or kind in ("A", "I") else word
