"""Rules as JSON and back, by the types of their fields: whatever has another type is an
error with a sentence. Pure.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints


def as_json(value: Any) -> Any:
    """Return a value as it is stored: of a dataclass only the fields that are not as
    they are by default.
    """
    if is_dataclass(value):
        stored = {}
        for one in fields(value):
            found = getattr(value, one.name)
            default = one.default
            if one.default_factory is not MISSING:
                default = one.default_factory()
            if found != default:
                stored[one.name] = as_json(found)
        return stored
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in sorted(value.items())}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [as_json(one) for one in value]
    return str(value) if isinstance(value, Decimal) else value


def from_json(kind: Any, value: Any) -> Any:
    """Return what `as_json` wrote, as a value of this type. Raises ValueError with a
    sentence for anything else.
    """
    parts = get_args(kind)
    if NoneType in parts:
        return None if value is None else from_json(parts[0], value)
    origin = get_origin(kind)
    if is_dataclass(kind) and isinstance(value, Mapping):
        dataclass: Any = kind
        hints = _hints(dataclass)
        if unknown := sorted(value.keys() - hints.keys()):
            raise ValueError(f"There is no field {unknown[0][:40]!a}.")
        return dataclass(
            **{name: from_json(hints[name], one) for name, one in value.items()}
        )
    if origin is Mapping and isinstance(value, Mapping):
        return {parts[0](key): from_json(parts[1], one) for key, one in value.items()}
    if origin in (tuple, frozenset) and isinstance(value, list):
        if origin is frozenset or Ellipsis in parts:
            return origin(from_json(parts[0], part) for part in value)
        return tuple(
            from_json(one, part) for one, part in zip(parts, value, strict=True)
        )
    if kind is Decimal and isinstance(value, str):
        try:
            amount = Decimal(value)
        except InvalidOperation:
            amount = Decimal("NaN")
        # Nothing can be compared with what is no number.
        if not amount.is_finite():
            raise ValueError(f"{value[:40]!a} is no amount.")
        return amount
    if type(value) is not kind:
        raise ValueError(f"{str(value)[:40]!a} is of another type.")
    return value


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
