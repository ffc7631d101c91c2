"""Signing out."""

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from people.models import Person
from people.sign_in.sessions import reach_changed


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session and clear what the browser kept of the desk (docs/proofs.md, security 52)."""
    person = request.user.pk
    logout(request)
    # Other pages of this browser hear of it at once; not before the session is gone, or they would find it.
    reach_changed.send(sender=Person, person=person)
    response = redirect("account_login")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response
