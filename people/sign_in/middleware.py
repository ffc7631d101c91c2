"""Checks every request: requires people to be signed in, stores that their session is
in use, and requires a second factor if a role needs one.

The second factor is checked before every view. So pages, fragments, JSON answers and
the live stream are all protected, however the session began: by password, by provider,
by a link, or before the role needed a factor.
"""

import logging
from typing import Any
from urllib.parse import urlencode

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.db import transaction
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django.urls import reverse
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from common.postgres import AWAY
from people.sign_in.factors import has_second_factor, lacks_second_factor
from people.sign_in.reauthentication import ask_first, restore_posted
from people.sign_in.sessions import NOTED_EVERY, SessionStore, note_seen

log = logging.getLogger(__name__)

SECOND_FACTOR_REQUIRED = "Your role needs a second factor. Confirm it first."
# Views that an open page requests by itself: these must not extend the session.
_POLLING = {"pulse", "live-reach"}
# Views that need no second factor, because they are for everybody, signed in or not.
PUBLIC = set(
    """
    healthz readyz metrics live csp-report account_login account_logout multimail-webhook
    discord-interactions slack-interactions service-worker manifest
""".split()
)
# Views for people who need a second factor and have none. They show and change nothing
# else of the desk.
SETTING_UP = {"factor-app", "factor-passkey"}
# Views for people whose second factor is not proved yet in this session. Adding another
# factor is not among them: they have to prove the one that they have first.
PROVING = set(
    """
    factors account_reauthenticate account_resubmit mfa_reauthenticate mfa_reauthenticate_webauthn oidc-login
    oidc-callback
""".split()
)


class SignedInMiddleware(LoginRequiredMiddleware):
    """Requires people to be signed in, except for public views; for these it does not
    load the session.
    """

    def process_view(
        self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        """Redirect to the sign-in page unless somebody is signed in or the view is
        public. Restore what they posted before they reauthenticated.
        """
        if not getattr(view_func, "login_required", True):
            return None
        refused = super().process_view(request, view_func, view_args, view_kwargs)
        return refused or restore_posted(request)


class SignInMiddleware(MiddlewareMixin):
    """Stores every few minutes that a session is in use, and stops people who lack a
    required second factor.

    The check for the factor makes a query only if no second factor was proved in the
    session.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Store that the session is in use, if it is time to."""
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
            and session.seen_at
            and now - session.seen_at >= NOTED_EVERY
            and SESSION_KEY in session
        ):
            try:
                with transaction.atomic():
                    note_seen(request, now=now)
            except AWAY as error:
                # A later request stores it. A page that only reads must not fail
                # because of this.
                log.warning(
                    "session not noted as used", extra={"reason": type(error).__name__}
                )
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Answer instead of the view if a second factor is missing; otherwise return
        None, so that the view runs.
        """
        name = _url_name(request)
        if name in PUBLIC or not lacks_second_factor(request):
            return None
        person: Any = request.user.pk
        if name not in PROVING and (
            name not in SETTING_UP or has_second_factor(person)
        ):
            # Send them to the page where a factor is set up or proved. What a post
            # wanted to change is not changed.
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
