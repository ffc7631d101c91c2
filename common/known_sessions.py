"""Tells the web server that the session or API key of a request is a valid one. It
counts those that it does not know against the client's address, because anybody can
make them up (`dashboard/serving/usage.py`).
"""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

_NAME = "countersign.has_known_session"


def mark_as_known(request: HttpRequest) -> None:
    """Say that the session or key of this request is valid."""
    request.META[_NAME] = True


def is_marked(environ: Mapping[str, Any]) -> bool:
    """Whether the application said so, by the request's WSGI environment."""
    return _NAME in environ
