"""Reads request bodies: JSON objects only, and no text or number that the database cannot keep."""

import json
import math
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from gateway.errors import BadRequest, Invalid


class StrictParser(Parser):
    """Parses a body. An empty one is an empty object; refusals are typed, for the error handlers to find."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """Return the object in the body. Raises BadRequest, or Invalid for text that cannot be kept."""
        raw = request.body
        try:
            value = json.loads(raw) if raw.strip() else {}
        except (ValueError, RecursionError) as error:
            raise BadRequest("The body is not valid JSON.", code="invalid_json") from error
        if not isinstance(value, dict):
            raise BadRequest("The body must be a JSON object.", code="invalid_json")
        _refuse_the_unkeepable(value, "")
        return value


def _refuse_the_unkeepable(value: object, field: str) -> None:
    """Walk the whole value. PostgreSQL keeps neither U+0000 nor half a surrogate pair nor infinite numbers."""
    if isinstance(value, str):
        _refuse_text(value, field)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Invalid(f"{field}: is not a finite number.", field=field)
    elif isinstance(value, dict):
        for name, part in value.items():
            _refuse_text(name, field)
            _refuse_the_unkeepable(part, f"{field}.{name}" if field else name)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _refuse_the_unkeepable(part, f"{field}.{number}")


def _refuse_text(text: str, field: str) -> None:
    if "\x00" in text:
        raise Invalid(f"{field or 'body'}: holds the character U+0000.", field=field)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid(f"{field or 'body'}: holds half a surrogate pair.", field=field) from None
