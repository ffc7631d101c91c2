"""Receives Discord's interactions: checks the Ed25519 signature of time stamp and raw
body before anything else.

It knows no cookies and no sessions: the signature is all that counts, so there is no
CSRF token.
"""

import logging
import re
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from alerts.channels.discord.interactions.receiving import TooSlow, receive
from alerts.channels.discord.interactions.requests import (
    NoInteraction,
    read_interaction,
)
from alerts.channels.discord.replies import BROKEN, private
from common.addresses import came_unencrypted
from common.bodies import declared_length, read_body

log = logging.getLogger(__name__)

MAX_BODY = 256 * 1024
SIGNATURE = "X-Signature-Ed25519"
TIMESTAMP = "X-Signature-Timestamp"
# Seconds. What is older was answered long ago, or replayed; clocks differ by less than
# a minute.
_OLDEST = 300
_AHEAD = 60
_KEY = re.compile("[0-9a-fA-F]{64}")
_SIGNATURE = re.compile("[0-9a-fA-F]{128}")
_TIME = re.compile("[0-9]{1,12}", re.ASCII)
# After the first of a minute each hundredth is logged: whoever floods the address must
# not flood the log.
_EACH = 100
DATABASE_AWAY = "The desk's database is not responding. Most likely nothing was done: try again in a moment."
_refused_in: dict[int, int] = {}


@login_not_required
@csrf_exempt
@require_POST
def interactions(request: HttpRequest) -> HttpResponse:
    """Receive one interaction, and answer as Discord documents it. Nothing is stored of
    what is not signed.
    """
    if not settings.DISCORD_PUBLIC_KEY:
        return _refused(404, "No Discord application is set up for this desk.")
    if not _KEY.fullmatch(settings.DISCORD_PUBLIC_KEY):
        log.error("DISCORD_PUBLIC_KEY is no Ed25519 key")
        return _refused(
            503,
            "The public key of the Discord application is set up wrongly at this desk.",
        )
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(settings.DISCORD_PUBLIC_KEY))
    if settings.HTTPS and came_unencrypted(request):
        return _refused(
            403,
            "Send interactions to the https address; this one was sent unencrypted.",
        )
    body = read_body(request, most=MAX_BODY)
    if body is None:
        return _refused(
            413,
            f"The body is larger than {MAX_BODY // 1024} KiB. Discord's interactions are smaller.",
        )
    if len(body) < declared_length(request, most=MAX_BODY):
        return _refused(400, "The body ended before its Content-Length was reached.")
    signature = request.headers.get(SIGNATURE, "")
    timestamp = request.headers.get(TIMESTAMP, "")
    if error := _signature_error(
        key, body=body, signature=signature, timestamp=timestamp
    ):
        minute = int(time.time()) // 60
        number = _refused_in.get(minute, 0) + 1
        _refused_in.clear()
        _refused_in[minute] = number
        if number == 1 or number % _EACH == 0:
            log.warning(
                "interaction refused", extra={"reason": error, "in_this_minute": number}
            )
        return _refused(401, "Discord's signature is not valid.")
    try:
        received = read_interaction(body)
    except NoInteraction as error:
        sentence = (
            "This is signed, but it is not an interaction that Discord documents."
        )
        return _refused(400, f"{sentence} {error}".strip())
    # Errors become a valid answer too, because Discord shows no text of any other
    # response.
    try:
        answer = receive(received)
    except (OperationalError, InterfaceError, TooSlow) as error:
        log.error("interaction not taken", extra={"reason": type(error).__name__})
        answer = private(DATABASE_AWAY)
    except Exception:
        log.exception("interaction not taken")
        answer = private(BROKEN)
    return _json(200, answer)


def _signature_error(
    key: Ed25519PublicKey, *, body: bytes, signature: str, timestamp: str
) -> str:
    """Return in a word why the request is refused; empty where it is accepted."""
    if not signature or not timestamp:
        return "missing"
    if not _SIGNATURE.fullmatch(signature) or not _TIME.fullmatch(timestamp):
        return "malformed"
    try:
        key.verify(bytes.fromhex(signature), timestamp.encode() + body)
    except InvalidSignature:
        return "forged"
    # The time is checked after the signature, because an unsigned time proves nothing.
    return "" if -_AHEAD <= time.time() - int(timestamp) <= _OLDEST else "stale"


def _refused(status: int, sentence: str) -> HttpResponse:
    return _json(status, {"error": sentence})


def _json(status: int, content: dict[str, object]) -> HttpResponse:
    answer = JsonResponse(content, status=status)
    answer.headers["Content-Length"] = str(len(answer.content))
    return answer
