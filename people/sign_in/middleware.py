"""Keeps a session alive while a person uses it, and asks who they are where allauth wants to know it."""

import logging
from collections.abc import Callable

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib.auth import SESSION_KEY
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone

from people.session_store import SessionStore
from people.sign_in.reauthentication import ask_first
from people.sign_in.sessions import note_seen

log = logging.getLogger(__name__)

# What an open page asks for by itself: it must not keep somebody signed in who left.
_BY_ITSELF = {"pulse", "presence", "stop-banner", "live-reach"}


class SessionsMiddleware:
    """Notes every few minutes that a session is in use; a session that nobody uses ends by itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        session, now = request.session, timezone.now()
        # A page that asked for nobody's session shall not cost a query for it now.
        is_due = isinstance(session, SessionStore) and session.accessed and session.is_to_be_noted(now)
        if is_due and SESSION_KEY in session and not _is_by_itself(request):
            try:
                with transaction.atomic():
                    note_seen(request, now=now)
            except OperationalError as error:
                # Noted with a later request: a page that only shows something must not fail for it.
                log.warning("session not noted as used", extra={"reason": type(error).__name__})
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer before allauth does: it would keep what was posted, and all headers, readable in the session."""
        return ask_first(request) if isinstance(exception, ReauthenticationRequired) else None


def _is_by_itself(request: HttpRequest) -> bool:
    """Whether a page's script asked rather than a person: whoever reads sends a form, or opens a page, at times."""
    name = request.resolver_match.url_name if request.resolver_match else ""
    return name in _BY_ITSELF or (request.method == "GET" and "HX-Request" in request.headers)
