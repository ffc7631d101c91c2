"""Routes of MultiMail that this gateway does not have: each says so in JSON, and what to use in its place.

They are plain views: the OpenAPI document lists what works.
"""

from functools import partial

from django.http import HttpRequest, HttpResponse
from django.urls import path

from gateway.answers.base import answer


def not_implemented(request: HttpRequest, *, instead: str, **named: str) -> HttpResponse:
    """Answer for a route that is left out; what its path names is ignored."""
    return answer({"error": f"This gateway does not offer this. {instead}", "code": "not_implemented"}, status=501)


def _route(route: str, instead: str) -> object:
    return path(f"v1/{route}", partial(not_implemented, instead=instead))


urlpatterns = [
    _route("billing/<path:rest>", "It is your own, and nobody is billed."),
    _route("export", "Read the account by its lists."),
    _route("approve/<str:token>", "Decide with POST /v1/oversight/decide."),
]
