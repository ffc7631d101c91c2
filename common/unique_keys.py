"""Reads JSON objects. They are parsed strictly: an object that gives a name twice is
refused, because two readers could take different values.
"""

import json
from collections.abc import Mapping
from typing import Any

# A JSON object.
Json = dict[str, Any]
# Characters of a name that the error quotes.
_LONGEST = 80


class DuplicateKey(ValueError):
    """An object gives a name twice."""

    def __init__(self, name: str) -> None:
        # Escaped, so that it can be stored and printed whatever it holds.
        super().__init__(
            f"The body gives the name {json.dumps(name[:_LONGEST])} twice in one object."
        )


def unique_keys(pairs: list[tuple[str, Any]]) -> Json:
    """Return the object with these pairs. For the argument `object_pairs_hook` of the
    functions of `json`. Raises DuplicateKey.
    """
    result: Json = {}
    for name, value in pairs:
        if name in result:
            raise DuplicateKey(name)
        result[name] = value
    return result


def text_in(fields: Mapping[str, Any], *names: str, most: int | None = None) -> str:
    """Return the first of these fields that is not empty, as text, cut to `most`
    characters; empty if there is none.
    """
    return next((str(fields[name])[:most] for name in names if fields.get(name)), "")
