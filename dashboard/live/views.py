"""The dashboard's views for live updates: one redirects browsers to the stream, the
other tells the live process what a person may see.
"""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.request import split_domain_port
from django.views.decorators.http import require_safe

from common.pages import DeskRequest


def live_origin(request: HttpRequest) -> str:
    """Return the origin of the live stream, with the host name that this browser uses,
    so that cookies are sent to it and the CSP allows it.
    """
    if settings.LIVE_URL:
        parts = urlsplit(settings.LIVE_URL)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    host, _ = split_domain_port(request.get_host())
    return f"http://{host}:{settings.LIVE_PORT}"


@login_not_required
@require_safe
def live(request: DeskRequest) -> HttpResponse:
    """Redirect to the live stream, which has its own port. Behind a proxy, the proxy
    must route this path to that port.
    """
    if settings.LIVE_URL.startswith("/"):
        sentence = "The proxy in front of this desk must pass this path to LIVE_PORT. Until then, pages poll."
        return JsonResponse({"error": sentence}, status=404)
    response = HttpResponseRedirect(
        settings.LIVE_URL or f"{live_origin(request)}/live/"
    )
    response.status_code = 307
    return response


@login_not_required
@require_safe
def live_reach(request: DeskRequest) -> HttpResponse:
    """Tell the live process who is signed in, and which connections and mailboxes this
    person may see.
    """
    actor = request.actor
    if actor.kind != "person":
        return JsonResponse({"error": "Nobody is signed in."}, status=401)
    reach = [
        {"connection": scope.connection, "mailbox": scope.mailbox}
        for scope in actor.scopes
    ]
    return JsonResponse({"person": actor.id, "reach": reach})
