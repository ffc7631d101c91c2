"""One view, two answers: the whole page for a plain request, its fragment for an htmx one."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails


class DeskRequest(HttpRequest):
    """A request that went through the desk's middleware: what htmx says of it, and who asks (`people.actors.Actor`)."""

    htmx: HtmxDetails
    actor: Any


def page_or_fragment(
    request: DeskRequest, *, page: str, fragment: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """Render `fragment` for an htmx request and `page` for everything else.

    Boosted and history-restore requests replace the whole body, so they get the page.
    """
    htmx = request.htmx
    wants_fragment = bool(htmx) and not htmx.boosted and not htmx.history_restore_request
    response = render(request, fragment if wants_fragment else page, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
