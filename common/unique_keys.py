"""Reads JSON objects strictly: a name that is given twice is refused, as nobody could
say which value counts.
"""

import json
from collections.abc import Iterable
from typing import Any

_LONGEST = 80


class DuplicateKey(ValueError):
    """An object gives a name twice."""

    def __init__(self, name: str) -> None:
        # Escaped, so that it can be stored and printed whatever it holds.
        super().__init__(
            f"The body gives the name {json.dumps(name[:_LONGEST])} twice in one object."
        )


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object, as `object_pairs_hook` of `json`. Raises DuplicateKey."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DuplicateKey(_first_repeated(name for name, _ in pairs))
    return found


def _first_repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("no name is repeated")
