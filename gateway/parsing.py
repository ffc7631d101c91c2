"""Reads request bodies: JSON objects of a sane size and depth, without what the database cannot keep."""

import json
import math
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from gateway.errors import BadRequest, Invalid

MAX_DEPTH = 32
MAX_VALUES = 100_000

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_NO_FORM = "Forms are not taken. Send a JSON object, with Content-Type: application/json."


class StrictParser(Parser):
    """Parses a body. An empty one is an empty object; refusals are typed, for the error handlers to find."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """Return the object in the body. Raises BadRequest, or Invalid for text that cannot be kept."""
        raw = request.body
        try:
            value = json.loads(raw) if raw.strip() else {}
        except RecursionError as error:
            raise BadRequest("The body is nested too deeply.", code="invalid_json") from error
        except ValueError as error:
            hint = _NO_FORM if request.content_type in _FORMS else ""
            raise BadRequest(f"The body is not valid JSON: {_where(error)}.", code="invalid_json", hint=hint) from error
        if not isinstance(value, dict):
            raise BadRequest("The body must be a JSON object.", code="invalid_json")
        _Walk().through(value)
        return value


def _where(error: ValueError) -> str:
    """Return what is wrong and where, without a word of the body itself."""
    if not isinstance(error, json.JSONDecodeError):
        return "it is not UTF-8, or holds a number that is too long"
    return f"{error.msg[:1].lower()}{error.msg[1:]}, at line {error.lineno}, column {error.colno}"


class _Walk:
    """Looks at every value of a body. What is nested too deeply, readers further on could not read again."""

    def __init__(self) -> None:
        self.values = 0

    def through(self, parts: dict[str, Any] | list[Any], path: tuple[str | int, ...] = ()) -> None:
        """Raises Invalid for what cannot be kept: U+0000, half a surrogate pair, infinite numbers, and too much."""
        self.values += len(parts)
        if len(path) > MAX_DEPTH:
            raise Invalid(f"{path[0]}: is nested deeper than {MAX_DEPTH} levels.", field=str(path[0]))
        if self.values > MAX_VALUES:
            raise Invalid(f"The body holds more than {MAX_VALUES} values.")
        for name, part in parts.items() if isinstance(parts, dict) else enumerate(parts):
            if isinstance(name, str):
                _refuse_text(name, path)
            if isinstance(part, str):
                _refuse_text(part, (*path, name))
            elif isinstance(part, dict | list):
                self.through(part, (*path, name))
            elif isinstance(part, float) and not math.isfinite(part):
                raise _invalid((*path, name), "is not a finite number.")


def _refuse_text(text: str, path: tuple[str | int, ...]) -> None:
    if "\x00" in text:
        raise _invalid(path, "holds the character U+0000.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _invalid(path, "holds half a surrogate pair.") from None


def _invalid(path: tuple[str | int, ...], sentence: str) -> Invalid:
    field = ".".join(str(name)[:80] for name in path)
    return Invalid(f"{field or 'body'}: {sentence}", field=field)
