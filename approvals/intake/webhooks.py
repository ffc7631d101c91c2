"""Where MultiMail's webhooks arrive: signature over the raw body, then one transaction, then an answer.

It knows no cookies and no sessions: the signature is all that counts, so this is the one address without a CSRF token.
"""

import hashlib
import json
import logging

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from approvals import wake_ups
from approvals.intake import ingest, senders
from common.addresses import came_unencrypted, client_address
from common.bodies import declared_length, read_body
from common.disk import is_disk_full_error
from common.logs import traced
from mirror.models import Connection
from upstream.events import REFUSED
from upstream.signatures import HEADER, verify

log = logging.getLogger(__name__)

MAX_BODY = 256 * 1024


@csrf_exempt
@require_POST
def multimail_webhook(request: HttpRequest, webhook_id: str) -> HttpResponse:
    """Take one webhook in. 2xx says that it is stored; all else stores nothing and says what to do.

    The one exception is 400: signed, but no event. It is kept for the admins to see.
    """
    try:
        return _take_in(request, webhook_id)
    except AnyDatabaseError as error:
        log.error("webhook not stored", extra={"reason": type(error).__name__})
        why = "disk is full" if is_disk_full_error(error) else "database does not answer right now"
        sentence = f"The desk's {why}, and nothing was stored. Send it again."
        answer = _refused(503, sentence, wait=10)
        # Our line said so; Django's would name the path, which is nobody's business.
        answer._has_been_logged = True  # type: ignore[attr-defined]
        return answer


def _take_in(request: HttpRequest, webhook_id: str) -> HttpResponse:
    if settings.HTTPS and came_unencrypted(request):
        return _refused(403, "Send webhooks to the https address; what came unencrypted could be read on its way.")
    connection = senders.sender(webhook_id)
    if connection is None:
        return _refused(404, "No connection has this webhook address. Copy it again from the connection's page.")
    if not _is_json(request.content_type or ""):
        return _refused(415, "Send the event as application/json.")
    body = read_body(request, most=MAX_BODY)
    if body is None:
        return _refused(413, f"The body is larger than {MAX_BODY // 1024} KiB. MultiMail's events are far smaller.")
    if len(body) < declared_length(request, most=MAX_BODY):
        return _refused(400, "The body ended before its Content-Length was reached. Send it again.")
    given = request.headers.get(HEADER, "")
    secret_used = verify(body, given, senders.secrets_of(connection))
    if not secret_used:
        counted = senders.count_unsigned(connection=connection.pk, address=client_address(request))
        changed = senders.sender_if_changed(webhook_id, counted.change) if counted.is_known else None
        secret_used = verify(body, given, senders.secrets_of(changed)) if changed else ""
        if not changed or not secret_used:
            return _unsigned(connection, counted.wait)
        connection = changed
    return _store(connection, body, secret_used, client_address(request))


def _store(connection: Connection, body: bytes, secret_used: str, address: str) -> HttpResponse:
    with traced(hashlib.sha256(body).hexdigest()[:16]):
        stored = ingest.receive_webhook(connection=connection, body=body, secret_used=secret_used, address=address)
        log.info("webhook stored", extra={"connection": connection.slug, "result": stored.result})
        if stored.fetch is not None:
            wake_ups.hydrate(stored.fetch)
        if stored.ask is not None:
            wake_ups.ask_about(stored.ask)
        if stored.event is not None and stored.event.name == REFUSED:
            wake_ups.read_refusals(connection)
    if stored.problem:
        return _json(400, {"error": stored.problem, "stored": True})
    return _json(200, {"result": stored.result})


def _unsigned(connection: Connection, wait: int) -> HttpResponse:
    """Refuse what nobody signed who may; whoever goes on and on is told to stay away, and not logged line by line."""
    if wait:
        return _refused(
            429, "Too many webhooks without a valid signature came from there or for this address.", wait=wait
        )
    log.warning("webhook refused", extra={"connection": connection.slug, "reason": "signature"})
    return _refused(
        401,
        f"The signature in {HEADER} does not match the body. Check that the signing secret of this webhook is "
        "the one on the connection's page, and that nothing on the way changes the body.",
    )


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or (
        content_type.startswith("application/") and content_type.endswith("+json")
    )


def _refused(status: int, sentence: str, *, wait: int = 0) -> HttpResponse:
    answer = _json(status, {"error": sentence})
    if wait:
        answer.headers["Retry-After"] = str(wait)
    return answer


def _json(status: int, content: dict[str, object]) -> HttpResponse:
    answer = HttpResponse(json.dumps(content), content_type="application/json", status=status)
    answer.headers["Content-Length"] = str(len(answer.content))
    return answer
