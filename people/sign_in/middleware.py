"""Checks of every request: extends sessions in use, and requires a second factor where
a role needs one.

The second factor is checked before every view, so that pages, fragments, JSON answers
and the live stream are all protected, however the session began: by password, provider,
password link, or before the rule.
"""

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.db import OperationalError, transaction
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django.urls import reverse
from django.utils import timezone

from people.sign_in.factors import has_second_factor, lacks_second_factor
from people.sign_in.reauthentication import ask_first
from people.sign_in.sessions import SessionStore, note_seen

log = logging.getLogger(__name__)

SECOND_FACTOR_REQUIRED = "Your role needs a second factor. Confirm it first."
# Requests that an open page makes by itself must not extend the session.
_POLLING = {"pulse", "stop-banner", "live-reach"}
# Open to everybody, signed in or not.
PUBLIC = {
    "healthz",
    "readyz",
    "metrics",
    "live",
    "csp-report",
    "account_login",
    "account_logout",
    "multimail-webhook",
    "discord-interactions",
}
# Open to people without a second factor: these pages show and change nothing of the
# desk.
SETTING_UP = {"factor-app", "factor-passkey"}
# Open to people with a factor that is not proved yet. They cannot add another one
# before.
PROVING = {
    "factors",
    "account_reauthenticate",
    "account_resubmit",
    "mfa_reauthenticate",
    "mfa_reauthenticate_webauthn",
    "oidc-login",
    "oidc-callback",
}


class SignedInMiddleware(LoginRequiredMiddleware):
    """Asks who one is, except on public pages, which do not read the session for it."""

    def process_view(
        self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        """Lead to the sign-in unless somebody is signed in or the view is public."""
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


class SignInMiddleware:
    """Records every few minutes that a session is in use, and stops people who lack a
    required second factor.

    The second check needs a query only where no second factor was proved in the
    session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        session = request.session
        now = timezone.now()
        is_by_script = _url_name(request) in _POLLING or (
            request.method == "GET" and "HX-Request" in request.headers
        )
        if (
            not is_by_script
            and isinstance(session, SessionStore)
            # Do not load the session of a request that did not use it.
            and session.accessed
            and session.must_be_noted(now)
            and SESSION_KEY in session
        ):
            try:
                with transaction.atomic():
                    note_seen(request, now=now)
            except OperationalError as error:
                # A later request records it: a page that only reads must not fail
                # because of this.
                log.warning(
                    "session not noted as used", extra={"reason": type(error).__name__}
                )
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Answer instead of the view if a second factor is missing; otherwise run the
        view.
        """
        name = _url_name(request)
        if name in PUBLIC or not lacks_second_factor(request):
            return None
        person: Any = request.user.pk
        if name not in PROVING and (
            name not in SETTING_UP or has_second_factor(person)
        ):
            # Lead to the page where a factor is set up or proved; a post has no effect.
            path = reverse("factors")
            if request.headers.get("HX-Request"):
                return HttpResponse(
                    SECOND_FACTOR_REQUIRED,
                    status=403,
                    headers={"HX-Redirect": path},
                    content_type="text/plain",
                )
            accepted = request.headers.get("Accept", "")
            wants_json = "text/html" not in accepted and "application/json" in accepted
            if wants_json or request.GET.get("format") == "json":
                return JsonResponse({"error": SECOND_FACTOR_REQUIRED}, status=403)
            if request.method == "GET":
                path = f"{path}?{urlencode({'next': request.get_full_path()})}"
            return HttpResponseRedirect(path)
        # These pages run without any role, so that their layout shows nothing of the
        # desk.
        request.actor = request.actor.acting_as()  # type: ignore[attr-defined]
        return None

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponse | None:
        """Answer before allauth does: it would store the posted data and all headers
        unencrypted in the session.
        """
        if isinstance(exception, ReauthenticationRequired):
            return ask_first(request)
        return None


def _url_name(request: HttpRequest) -> str | None:
    return request.resolver_match.url_name if request.resolver_match else None
