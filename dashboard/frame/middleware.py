"""Middleware for every response: trace id, security headers, compression, and error
texts.
"""

import uuid
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.functional import SimpleLazyObject

from common.actors import Actor
from common.addresses import client_address
from common.logs import traced
from common.time_zones import somebodys_time
from dashboard.frame import errors
from dashboard.live.views import live_origin
from people.models import Person

Next = Callable[[HttpRequest], HttpResponseBase]

_FRAME_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox"
)
ONE_YEAR = 365 * 24 * 60 * 60


class Middleware:
    """The base class: Django passes it the next middleware, or the view."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response


class CompressMiddleware(GZipMiddleware):
    """Compresses responses to requests of the desk's own pages and of people, never of
    other sites.

    The size of a compressed response reveals something of its content to anybody who
    observes it and chooses a part of it. So requests of other sites get uncompressed
    responses, and so does the frame with a message's content. For the rest the size is
    random (Django adds up to 100 bytes), and each response has another CSRF token.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        asked_by = request.headers.get("Sec-Fetch-Site", "")
        if asked_by not in ("same-origin", "none") or getattr(
            response, "is_mail_frame", False
        ):
            return response
        return super().process_response(request, response)


class TraceMiddleware(Middleware):
    """Gives each request an id that its log lines and ledger entries carry."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with traced(uuid.uuid4().hex[:16]):
            return self.get_response(request)


class WordsMiddleware(Middleware):
    """Renders an error page for 405, which a browser would show as an empty page."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code != 405 or request.method != "GET":
            return response
        page = errors.only_pressed(request)
        page.headers["Allow"] = response.headers["Allow"]
        return page


class ActorMiddleware(Middleware):
    """Gives each request its `actor`, with the client's address, and activates the
    person's time zone.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.actor = SimpleLazyObject(lambda: _actor_of(request))  # type: ignore[attr-defined]
        with somebodys_time(lambda: getattr(request.user, "time_zone", "UTC")):
            return self.get_response(request)


def _actor_of(request: HttpRequest) -> Actor:
    address = client_address(request)
    if isinstance(request.user, Person):
        return request.user.actor(surface="web", address=address)
    return Actor(
        kind="anonymous",
        id="",
        label="somebody who is not signed in",
        surface="web",
        address=address,
    )


class SecurityHeadersMiddleware(Middleware):
    """Adds the security headers to every response, including errors and static files."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        headers = response.headers
        is_mail_frame = getattr(response, "is_mail_frame", False)
        headers["Content-Security-Policy"] = (
            _FRAME_POLICY if is_mail_frame else self._policy(request)
        )
        headers["X-Frame-Options"] = "SAMEORIGIN" if is_mail_frame else "DENY"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = (
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        )
        if settings.HTTPS:
            headers["Strict-Transport-Security"] = (
                f"max-age={ONE_YEAR}; includeSubDomains"
            )
        if (
            not request.path.startswith(settings.STATIC_URL)
            or response.status_code >= 400
        ):
            headers["Cache-Control"] = "no-store"
        return response

    def _policy(self, request: HttpRequest) -> str:
        try:
            live = live_origin(request)
        except DisallowedHost:
            # The error page needs no stream.
            live = ""
        return (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
            f"connect-src 'self'{f' {live}' if live else ''}; frame-src 'self'; form-action 'self'; "
            "base-uri 'none'; object-src 'none'; frame-ancestors 'none'; report-uri /csp-report/"
        )
