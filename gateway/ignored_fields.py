"""Remembers which fields of a body nobody here knows, and names them in the answer.

MultiMail ignores unknown fields, so they are no error; but a misspelled `send_at` should not go unnoticed either.
"""

import json
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

MOST_NAMES = 10
_LONGEST_NAME = 80


def remember(request: HttpRequest, names: set[str]) -> None:
    """Keep the names until the answer is made."""
    if names:
        known: set[str] = getattr(request, "ignored_fields", set())
        request.ignored_fields = known | names  # type: ignore[attr-defined]


def named_in(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the answer, with `ignored_fields` where it went well although there were any."""
    names: set[str] = getattr(request, "ignored_fields", set())
    if not names or response.status_code >= 300 or not isinstance(response, JsonResponse):
        return response
    told: dict[str, Any] = json.loads(response.content)
    told["ignored_fields"] = [name[:_LONGEST_NAME] for name in sorted(names)[:MOST_NAMES]]
    response.content = json.dumps(told).encode()
    return response
