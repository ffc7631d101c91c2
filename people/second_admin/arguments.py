"""Turns the arguments of a command into JSON and back, by the types that its signature
names.

A row becomes its key, a dataclass an object of its fields, a time its text and a length
of time its seconds.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any, cast, get_args, get_origin, get_type_hints

from django.db.models import Model

from people.errors import NotYours


def as_json(value: Any) -> Any:
    """Return an argument as JSON."""
    if isinstance(value, Model):
        return value.pk
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if is_dataclass(value):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(one) for one in value]
    return value


def from_json(hint: Any, value: Any) -> Any:
    """Return what `as_json` turned into JSON, as the type `hint`. Raises NotYours for a
    row that is gone.
    """
    if value is None or hint is Any:
        return value
    choices = [one for one in get_args(hint) if one is not NoneType]
    if NoneType in get_args(hint):
        (hint,) = choices
        choices = list(get_args(hint))
    kind = get_origin(hint) or hint
    if issubclass(kind, Model):
        rows = kind._default_manager.all()
        if hasattr(rows, "at_work"):
            # Without those of a connection that was removed.
            rows = rows.at_work()
        found = rows.filter(pk=value).first()
        if found is None:
            raise NotYours(
                f"The {kind._meta.verbose_name} that this changes is no longer there."
            )
        return found
    if issubclass(kind, timedelta):
        return timedelta(seconds=value)
    if issubclass(kind, datetime):
        return datetime.fromisoformat(value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return cast(Any, kind)(
            **{name: from_json(hints[name], one) for name, one in value.items()}
        )
    if issubclass(kind, Mapping):
        return {
            from_json(choices[0], name): from_json(choices[1], one)
            for name, one in value.items()
        }
    if issubclass(kind, tuple) and choices[-1] is not Ellipsis:
        return tuple(
            from_json(one, part) for one, part in zip(choices, value, strict=True)
        )
    if isinstance(value, list):
        parts = [from_json(choices[0], part) for part in value]
        return tuple(parts) if issubclass(kind, tuple) else parts
    return kind(value)
