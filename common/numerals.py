"""Numbers as letters and in Roman, as lists and the columns of sheets have them."""

_ROMAN = dict(
    zip(
        "m cm d cd c xc l xl x ix v iv i".split(),
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        strict=True,
    )
)


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
        for letters, value in _ROMAN.items():
            times, number = divmod(number, value)
            word += letters * times
    return word.upper() if kind.startswith("upper") or kind in ("A", "I") else word
