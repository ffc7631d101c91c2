"""The gateway's only middleware. It checks the host and the size of the body before
anything reads a request, logs each request under an id, and marks each answer as the
gateway's.

It also replaces Django's redirects and HTML errors by errors in JSON. The API answers
with HTML only at /docs and on the page to unsubscribe.
"""

import json
import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from common.identifiers import ulid
from common.logs import given_id, traced

# Beginnings of the paths whose answers may be something else than JSON.
_NOT_JSON = ("/docs", "/static/")
# Sentence and code of the errors that replace Django's, by status.
_SENTENCES = {
    400: ("The request cannot be read.", "bad_request"),
    404: ("There is nothing at this path. See /docs and /openapi.json.", "not_found"),
    405: ("This path does not accept this method.", "method_not_allowed"),
}
# The same for every other status.
_BROKEN = ("The gateway had an error, which was logged.", "internal")

# The most bytes of a body: of most requests, and at paths that take long texts or lists,
# of which JSON may write a character in twelve bytes. Messages have files: they may be as
# large as the setting allows. Both kinds of paths are known by their last part.
SMALL_BODY = 64 * 1024
LONG_BODY = 4 * 1024 * 1024
_LONG = ("decide", "decide_email", "schedule", "allowlist", "stopped")
_MESSAGES = ("send", "send_email", "reply_email", "mcp")

log = logging.getLogger(__name__)


def problem(status: int, error: str, code: str) -> JsonResponse:
    """Return an error in the form that all errors of the API have."""
    return JsonResponse({"error": error, "code": code}, status=status)


def bound_of(path: str) -> int:
    """Return how many bytes the body of a request to this path may have."""
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    parts = path.rstrip("/").split("/")
    # A reply may be to the message that its path names.
    if parts[-1] in _MESSAGES or "reply" in parts[-2:]:
        return most
    return min(most, LONG_BODY if parts[-1] in _LONG else SMALL_BODY)


def too_large(most: int) -> str:
    """Return the sentence for a body over the limit of its path or tool."""
    return f"The body is too large: at most {most:,} bytes here."


def failed(
    request: HttpRequest, exception: Exception | None = None, *, status: int
) -> HttpResponse:
    """Return a JSON error for this status; used in place of Django's HTML error
    pages.
    """
    return problem(status, *_SENTENCES.get(status, _BROKEN))


class JsonOnlyMiddleware:
    """Checks and logs each request, and keeps errors in JSON."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the answer to one request."""
        request_id = (
            given_id(
                request.headers.get("X-Request-Id"), request.headers.get("traceparent")
            )
            or ulid()
        )
        began = time.monotonic()
        with traced(request_id):
            response = self._refusal(request) or _as_json(
                request, self.get_response(request)
            )
            code = None
            if isinstance(response, JsonResponse) and response.status_code >= 400:
                code = json.loads(response.content).get("code")
            # The route is logged, not the path: paths may hold addresses.
            match = request.resolver_match
            facts = {
                "method": request.method,
                "route": match.route if match else None,
                "status": response.status_code,
                "code": code,
                "milliseconds": round((time.monotonic() - began) * 1000, 1),
                "key": getattr(getattr(request, "auth", None), "pk", None),
            }
            log.info("request", extra=facts)
        response["X-Countersign-Gateway"] = "1"
        response["X-Content-Type-Options"] = "nosniff"
        response["X-Request-Id"] = request_id
        response.setdefault("Cache-Control", "no-store")
        # Django would log the path, which may hold an address; this stops that.
        response._has_been_logged = True  # type: ignore[attr-defined]
        if isinstance(response, HttpResponse):
            response["Content-Length"] = str(len(response.content))
        return response

    def _refusal(self, request: HttpRequest) -> HttpResponse | None:
        # Returns the error for a request that nothing may read, or None.
        try:
            request.get_host()
        except DisallowedHost:
            return problem(
                400, "This host name is not in ALLOWED_HOSTS.", "unknown_host"
            )
        length = request.META.get("CONTENT_LENGTH") or "0"
        most = bound_of(request.path_info)
        if not length.isdecimal() or int(length) > most:
            return problem(413, too_large(most), "too_large")
        # PostgreSQL cannot store U+0000, so no id and no filter can hold one.
        if "\x00" in request.path_info:
            return failed(request, status=404)
        if "%00" in request.META.get("QUERY_STRING", ""):
            return problem(
                422, "A parameter holds the character U+0000.", "invalid_field"
            )
        return None


def _as_json(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return a JSON error in place of a redirect or HTML error of Django; any other
    answer unchanged.
    """
    if response.status_code < 300 or response.get("Content-Type", "").startswith(
        "application/json"
    ):
        return response
    if request.path_info.startswith(_NOT_JSON) and response.status_code < 400:
        return response
    status = 404 if response.status_code < 400 else response.status_code
    replaced = failed(request, status=status)
    if "Allow" in response:
        replaced["Allow"] = response["Allow"]
    return replaced
