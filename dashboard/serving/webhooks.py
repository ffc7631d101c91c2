"""A short way for webhooks through Django: the same view and security headers as usual,
without the middleware that only people need.

A webhook needs no session, sign-in, CSRF token or notices: its signature authenticates
it. MultiMail follows no redirects, so a URL without the trailing slash is accepted too.
"""

from typing import Any

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler

from approvals.intake.webhooks import multimail_webhook
from dashboard.frame.middleware import SecurityHeadersMiddleware, TraceMiddleware

PATH = "/webhooks/multimail/"


class Intake(WSGIHandler):
    """Django's own WSGI handler, with only two middlewares and one view."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain from the view outwards."""
        chain: Any = convert_exception_to_response(
            lambda request: multimail_webhook(
                request, request.path_info.removeprefix(PATH).removesuffix("/")
            )
        )
        for middleware in (SecurityHeadersMiddleware, TraceMiddleware):
            chain = convert_exception_to_response(middleware(chain))
        self._middleware_chain = chain
