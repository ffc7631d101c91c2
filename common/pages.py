"""One view, two answers: the whole page for a plain request, its fragment for an htmx
one.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods
from django_htmx.middleware import HtmxDetails

from common.actors import Actor

Row = TypeVar("Row", bound=Model)
View = Callable[..., HttpResponse]
# A view that changes something, and returns the notice to show.
Change = Callable[..., HttpResponse | str]

# For a view that shows a form, and takes it.
require_get_or_post = require_http_methods(["GET", "HEAD", "POST"])


class DeskRequest(HttpRequest):
    """A request that went through the desk's middleware: what htmx says of it, and who
    asks.
    """

    htmx: HtmxDetails
    actor: Actor


def wants_fragment(request: DeskRequest) -> bool:
    """Whether a part of the page is asked for. Boosted and history-restore requests
    replace the whole body.
    """
    htmx = request.htmx
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def page_or_fragment(
    request: DeskRequest,
    *,
    page: str,
    fragment: str,
    context: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    """Render `fragment` for an htmx request and `page` for everything else."""
    response = render(
        request, fragment if wants_fragment(request) else page, context, status=status
    )
    patch_vary_headers(response, ["HX-Request"])
    return response


def redirect_with_notice(
    request: HttpRequest, notice: str, to: str, **kwargs: Any
) -> HttpResponse:
    """Redirect to the URL named `to`, where the page shows `notice` once."""
    messages.info(request, notice, extra_tags="desk")
    response: HttpResponse = redirect(to, **kwargs)
    return response


def first_or_404(rows: QuerySet[Row], sentence: str) -> Row:
    """Return the first of these rows. Raises Http404 with the sentence, which the page
    shows, where there is none.
    """
    found = rows.first()
    if found is None:
        raise Http404(sentence)
    return found
