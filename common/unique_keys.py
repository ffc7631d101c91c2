"""Reads JSON objects strictly: a name that is given twice is refused, as nobody could
say which value counts.
"""

import json
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
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise DuplicateKey(name)
        found[name] = value
    return found
