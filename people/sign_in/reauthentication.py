"""Asks people to confirm who they are before a sensitive act, where they last proved it a while ago.

What they posted is kept until then, encrypted, in their session; after it the browser posts it once more, to its own
address and through everything that a request passes. django-allauth would call the view by itself instead, with the
headers of another request, and keep what may be a key readable in the database.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlsplit

from allauth.account.internal.flows.login import get_authentication_records
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

from common.encryption import decrypt, encrypt

R = TypeVar("R", bound=HttpResponseBase)

_KEPT = "kept_request"
# Somebody who needs longer than this types it again.
_KEPT_SECONDS = 900
_OF_THE_FORM = "csrfmiddlewaretoken"


@dataclass(frozen=True)
class Kept:
    """What somebody posted before they were asked who they are."""

    path: str
    fields: list[tuple[str, str]]


def has_just_proved(request: HttpRequest) -> bool:
    """Whether whoever asks proved who they are in the last ten minutes, by signing in or by confirming it."""
    if not request.user.is_authenticated:
        return False
    proofs = get_authentication_records(request, request.user)
    return bool(proofs) and time.time() - proofs[-1]["at"] < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def reauthenticated(view: Callable[..., R]) -> Callable[..., R | HttpResponse]:
    """Let a view run only for somebody who has just proved who they are (docs/proofs.md, security 41).

    It stands last of a view's decorators: after method, login and permission. Others are asked first; what they posted
    is kept until then. A view in which only one of several acts is sensitive calls `ask_first` itself.
    """

    @wraps(view)
    def asked(request: HttpRequest, *args: Any, **kwargs: Any) -> R | HttpResponse:
        return view(request, *args, **kwargs) if has_just_proved(request) else ask_first(request)

    return asked


def ask_first(request: HttpRequest) -> HttpResponse:
    """Lead to the page on which somebody confirms who they are, and from there back to what they wanted."""
    wanted = request.get_full_path()
    if request.method == "POST" and request.FILES:
        # A browser lets nobody fill in a file; that has to be chosen again.
        messages.info(request, "You confirmed who you are. Choose the file again, and send it.", extra_tags="desk")
        wanted = _page_of(request)
    elif request.method == "POST":
        _keep(request)
        wanted = reverse("account_go_on")
    address = f"{reverse('account_reauthenticate')}?{urlencode({'next': wanted, 'back': _page_of(request)})}"
    if getattr(request, "htmx", False):
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


def _keep(request: HttpRequest) -> None:
    fields = [(name, value) for name, values in request.POST.lists() for value in values if name != _OF_THE_FORM]
    kept = {"path": request.get_full_path(), "fields": fields, "at": time.time(), "person": str(request.user.pk)}
    request.session[_KEPT] = encrypt(json.dumps(kept))


def take_kept(request: HttpRequest) -> Kept | None:
    """Return what was kept for whoever asks, which is kept no longer then."""
    token = request.session.pop(_KEPT, None)
    if not token:
        return None
    kept = json.loads(decrypt(token))
    if kept["person"] != str(request.user.pk) or time.time() - kept["at"] > _KEPT_SECONDS:
        return None
    return Kept(kept["path"], [(name, value) for name, value in kept["fields"]])


def forget_kept(request: HttpRequest) -> None:
    """Keep no longer what was posted: whoever posted it does not go on."""
    request.session.pop(_KEPT, None)


def has_kept(request: HttpRequest) -> bool:
    """Whether something is kept, that is done after the confirmation."""
    return _KEPT in request.session


def own_address(request: HttpRequest, address: str) -> str:
    """Return an address if it is one of this desk's pages, else the queue's."""
    is_own = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if is_own else reverse("queue")


def _page_of(request: HttpRequest) -> str:
    """Return the page from which was asked, as its browser tells."""
    parts = urlsplit(request.headers.get("HX-Current-URL") or request.headers.get("Referer", ""))
    if parts.netloc != request.get_host():
        return reverse("queue")
    return f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
