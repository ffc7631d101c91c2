"""Reads the fields of a stored rule strictly: what is unknown or impossible is an error with a sentence. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from typing import Any

MOST_VALUES = 500


def check_fields(value: object, of: type, what: str) -> Mapping[str, Any]:
    """Return a JSON object that has only fields of this dataclass."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be a JSON object.")
    known = {one.name for one in fields(of)}
    if unknown := sorted(set(map(str, value)) - known):
        raise ValueError(f"{what} have no field {unknown[0][:40]!a}.")
    return value


def flag(stored: Mapping[str, Any], name: str) -> bool:
    """Return a field that is true or false; false where it is missing."""
    value = stored.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is either true or false.")
    return value


def text(stored: Mapping[str, Any], name: str, *, most: int, among: Collection[str] | None = None) -> str:
    """Return a text of at most so many characters; `among` are the only values that it may have, besides none."""
    value = stored.get(name, "")
    if not isinstance(value, str) or len(value) > most or "\x00" in value:
        raise ValueError(f"{name} is a text of at most {most} characters.")
    if among is not None and value and value not in among:
        raise ValueError(f"{name} cannot be {value!a}.")
    return value


def texts(stored: Mapping[str, Any], name: str, *, most: int, among: Collection[str] | None = None) -> frozenset[str]:
    """Return a list of such texts as a set."""
    return frozenset(text({name: one}, name, most=most, among=among) for one in _list(stored, name) if one != "")


def positive(stored: Mapping[str, Any], name: str, *, most: int) -> int | None:
    """Return a whole number between 1 and `most`; None where it is missing."""
    value = stored.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} is a whole number between 1 and {most}.")
    return value


def whole_numbers(stored: Mapping[str, Any], name: str) -> frozenset[int]:
    """Return a list of the keys of rows as a set."""
    values = _list(stored, name)
    if not all(type(one) is int and 0 < one < 2**63 for one in values):
        raise ValueError(f"{name} is a list of keys.")
    return frozenset(values)


def amount(stored: Mapping[str, Any], name: str) -> Decimal | None:
    """Return an amount of money that is stored as a text; None where it is missing."""
    value = stored.get(name)
    if value is None:
        return None
    try:
        found = Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 <= found < 10**15:
        raise ValueError(f"{name} is an amount such as 1000 or 49.90.")
    return found


def _list(stored: Mapping[str, Any], name: str) -> list[Any]:
    values = stored.get(name, [])
    if not isinstance(values, list) or len(values) > MOST_VALUES:
        raise ValueError(f"{name} is a list of at most {MOST_VALUES} values.")
    return values
