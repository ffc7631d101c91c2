"""The page of the first run, and putting away the line that leads to it."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from common.pages import DeskRequest
from dashboard.setup import first_letter, left, may_set_up, set_up

PUT_AWAY = "setup_put_away"


@login_required
@require_safe
def setup(request: DeskRequest) -> HttpResponse:
    """Show what is done of the first run, and what to do next."""
    if not may_set_up(request.actor):
        raise PermissionDenied
    found = set_up()
    context = {
        "found": found,
        "letter": first_letter(found.connection),
        "gateway_url": settings.MULTIMAIL_API_URL,
    }
    return render(request, "dashboard/setup.html", context)


@login_required
@require_POST
def put_away(request: DeskRequest) -> HttpResponse:
    """Show no reminder until the person signs in anew. The page itself stays."""
    if not may_set_up(request.actor):
        raise PermissionDenied
    request.session[PUT_AWAY] = True
    return redirect("home")


def reminder(request: HttpRequest) -> str:
    """Return what is left, for the pages that remind of it; empty where nothing is, or it was put away."""
    return "" if request.session.get(PUT_AWAY) else left(request.actor)  # type: ignore[attr-defined]
