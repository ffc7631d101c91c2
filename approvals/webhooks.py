"""Where MultiMail's webhooks arrive: signature over the raw body, then one transaction, then an answer."""

import hashlib
import logging

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from approvals import ingest, nudges
from approvals.models import Connection
from common.logs import traced
from upstream.signatures import HEADER, verify

log = logging.getLogger(__name__)

MAX_BODY = 256 * 1024


@csrf_exempt
@require_POST
def multimail_webhook(request: HttpRequest, webhook_id: str) -> JsonResponse:
    """Take one webhook in. 2xx says that it is stored; all else stores nothing and says what to do.

    The one exception is 400: signed, but no event. It is kept for the admins to see.
    """
    try:
        return _take_in(request, webhook_id)
    except (OperationalError, InterfaceError) as error:
        log.error("webhook not stored", extra={"reason": type(error).__name__})
        answer = _refused(503, "The desk's database does not answer right now, and nothing was stored. Send it again.")
        answer.headers["Retry-After"] = "10"
        return answer


def _take_in(request: HttpRequest, webhook_id: str) -> JsonResponse:
    # PostgreSQL cannot even be asked for U+0000.
    connection = None if "\0" in webhook_id else Connection.objects.filter(webhook_id=webhook_id).first()
    if connection is None:
        return _refused(404, "No connection has this webhook address. Copy it again from the connection's page.")
    if request.content_type != "application/json":
        return _refused(415, "Send the event as application/json.")
    body = _read_body(request)
    if body is None:
        return _refused(413, f"The body is larger than {MAX_BODY // 1024} KiB. MultiMail's events are far smaller.")
    secret_used = verify(body, request.headers.get(HEADER, ""), _secrets(connection))
    if not secret_used:
        log.warning("webhook refused", extra={"connection": connection.slug, "reason": "signature"})
        return _refused(
            401,
            f"The signature in {HEADER} does not match the body. Check that the signing secret of this webhook is "
            "the one on the connection's page, and that nothing on the way changes the body.",
        )
    with traced(hashlib.sha256(body).hexdigest()[:16]):
        stored = ingest.receive_webhook(connection=connection, body=body, secret_used=secret_used, now=timezone.now())
        log.info("webhook stored", extra={"connection": connection.slug, "result": stored.result})
        if stored.message is not None:
            nudges.hydrate(stored.message)
    if stored.problem:
        return JsonResponse({"error": stored.problem, "stored": True}, status=400)
    return JsonResponse({"result": stored.result})


def _secrets(connection: Connection) -> dict[str, str]:
    secrets = {"current": connection.webhook_secret}
    until = connection.previous_secret_until
    if until is not None and until > timezone.now():
        secrets["previous"] = connection.previous_webhook_secret
    return secrets


def _read_body(request: HttpRequest) -> bytes | None:
    """Read at most one byte more than allowed, whatever the length in the header says; None when it is too much."""
    declared = request.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY:
        return None
    # Chunked bodies have no length, and Django would read them as empty: take the server's stream itself.
    stream = request.META["wsgi.input"] if not declared else request
    read = bytearray()
    while len(read) <= MAX_BODY and (chunk := stream.read(MAX_BODY + 1 - len(read))):
        read += chunk
    return bytes(read) if len(read) <= MAX_BODY else None


def _refused(status: int, sentence: str) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)
