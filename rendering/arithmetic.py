"""Works out CSS lengths: plain ones, and those that are reckoned by calc(), min(), max() and clamp().

Linear, and bounded in depth. What it cannot work out is None, never a guess.
"""

import re
from collections.abc import Callable

ROOT_SIZE = 16.0
MAX_TERMS = 60

_LENGTH = re.compile(
    r"(?<![\w.#])(-?[0-9]{0,40}\.?[0-9]{1,40}(?:e[+-]?[0-9]{1,2})?)"
    r"(px|pt|pc|em|rem|ex|ch|%|vw|vh|vmin|vmax|cm|mm|in|q)?(?![\w%])"
)
_UNITS = {"px": 1, "": 1, "pt": 4 / 3, "pc": 16, "cm": 37.8, "mm": 3.78, "in": 96, "q": 0.945}
_FRACTIONS = {"em": 1, "rem": 1, "ex": 0.5, "ch": 0.5}
_TERM = re.compile(r"\s*([0-9]{0,20}\.?[0-9]{1,20}(?:e[+-]?[0-9]{1,2})?[a-z%]{0,4}|[-+*/(),]|[a-z-]{1,10}\()")
_MIDDLE = {"min": min, "max": max, "calc": max, "": max}


def length(value: str, size: float = ROOT_SIZE, whole: float = 600.0) -> float | None:
    """Return the first length in `value` in pixels; `whole` is what a percentage is of. None when there is none."""
    if "(" in value:
        reckoned = calculated(value, size, whole)
        if reckoned is not None:
            return reckoned
    found = _LENGTH.search(value)
    return _pixels(float(found.group(1)), found.group(2) or "", size, whole) if found else None


def lengths(value: str, size: float, whole: float = 600.0) -> list[float]:
    """Return all lengths in a value, those inside calls one by one."""
    found = [length(part, size, whole) for part in re.split(r"[\s,()+]+", value)] if value else []
    return [number for number in found if number is not None]


def calculated(value: str, size: float = ROOT_SIZE, whole: float = 600.0) -> float | None:
    """Return what a value made of one such call comes to; None for anything else."""
    if not value.startswith(("calc(", "min(", "max(", "clamp(", "-webkit-calc(")):
        return None
    terms: list[str] = []
    at = 0
    while at < len(value):
        found = _TERM.match(value, at)
        if found is None or len(terms) > MAX_TERMS:
            return None
        terms.append(found.group(1))
        at = found.end()
    reader = _Reader(terms, lambda number, unit: _pixels(number, unit, size, whole))
    try:
        result = reader.sum()
    except (ArithmeticError, IndexError, ValueError):
        return None
    return result if reader.at == len(terms) else None


def _pixels(number: float, unit: str, size: float, whole: float) -> float:
    if unit in _UNITS:
        return number * _UNITS[unit]
    if unit in _FRACTIONS:
        return number * _FRACTIONS[unit] * (ROOT_SIZE if unit == "rem" else size)
    return number / 100 * (whole if unit == "%" else 800.0)


class _Reader:
    """Reads terms by the usual precedence."""

    def __init__(self, terms: list[str], pixels: Callable[[float, str], float]) -> None:
        self.terms = terms
        self.pixels = pixels
        self.at = 0

    def sum(self) -> float:
        total = self._product()
        while self._next() in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            total += sign * self._product()
        return total

    def _product(self) -> float:
        product = self._one()
        while self._next() in ("*", "/"):
            product = product * self._one() if self._take() == "*" else product / self._one()
        return product

    def _one(self) -> float:
        term = self._take()
        if term in ("-", "+"):
            return -self._one() if term == "-" else self._one()
        if term.endswith("("):
            return self._call(term[:-1].removeprefix("-webkit-"))
        found = _LENGTH.fullmatch(term)
        if found is None:
            raise ValueError(term)
        return self.pixels(float(found.group(1)), found.group(2) or "")

    def _call(self, name: str) -> float:
        inside = [self.sum()]
        while self._next() == ",":
            self._take()
            inside.append(self.sum())
        if self._take() != ")":
            raise ValueError(name)
        if name == "clamp":
            low, wanted, high = inside
            return max(low, min(wanted, high))
        if name not in _MIDDLE:
            raise ValueError(name)
        return _MIDDLE[name](inside)

    def _next(self) -> str:
        return self.terms[self.at] if self.at < len(self.terms) else ""

    def _take(self) -> str:
        self.at += 1
        return self.terms[self.at - 1]
