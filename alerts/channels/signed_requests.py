"""Reads requests that a chat service signs: what people press and type there. Only the
signature proves who sent one, so they need no session and no CSRF token, and nothing of
the body is read before.
"""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from common.addresses import came_unencrypted
from common.bodies import declared_length, json_answer, read_body

log = logging.getLogger(__name__)

MAX_BODY = 256 * 1024
# How many seconds ago a request may have been signed, and how far in the future. An
# older one was answered long ago, or is replayed; clocks differ by less than a minute.
_OLDEST = 300
_AHEAD = 60
# Of the badly signed requests within a minute the first and each hundredth are logged,
# so that a flood of requests does not fill the log.
_EACH = 100
# How many were refused in the current minute, by minutes since 1970.
_refused_in: dict[int, int] = {}


class RequestRefused(Exception):
    """The request is answered with this status and sentence, and nothing is done."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

    def answer(self) -> HttpResponse:
        """Return the answer, in JSON."""
        return json_answer(self.status, {"error": str(self)})


def signed_body(
    request: HttpRequest,
    service: str,
    signature_header: str,
    time_header: str,
    is_ours: Callable[[str, str, bytes], bool],
) -> bytes:
    """Return the body of a request of this service. `is_ours` says whether the
    signature is the service's, of this timestamp and body. Raises RequestRefused.
    """
    if settings.HTTPS and came_unencrypted(request):
        raise RequestRefused(
            403,
            "Send interactions to the https address; this one was sent unencrypted.",
        )
    body = read_body(request, most=MAX_BODY)
    if body is None:
        raise RequestRefused(
            413,
            f"The body is larger than {MAX_BODY // 1024} KiB. {service}'s interactions are smaller.",
        )
    if len(body) < declared_length(request, most=MAX_BODY):
        raise RequestRefused(
            400, "The body ended before its Content-Length was reached."
        )
    signature = request.headers.get(signature_header, "")
    timestamp = request.headers.get(time_header, "")
    error = ""
    if not signature or not timestamp:
        error = "missing"
    elif not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 13):
        error = "malformed"
    elif not is_ours(signature, timestamp, body):
        error = "forged"
    # The time is checked after the signature, because an unsigned time proves nothing.
    elif not -_AHEAD <= time.time() - int(timestamp) <= _OLDEST:
        error = "stale"
    if error:
        minute = int(time.time()) // 60
        number = _refused_in.get(minute, 0) + 1
        _refused_in.clear()
        _refused_in[minute] = number
        if number == 1 or number % _EACH == 0:
            log.warning(
                "interaction refused", extra={"reason": error, "in_this_minute": number}
            )
        raise RequestRefused(401, f"{service}'s signature is not valid.")
    return body
