"""The view to which MultiMail sends its webhooks. It checks the signature over the raw
body, has the webhook stored and applied in one transaction, enqueues what follows from
it, and answers.

The view has no CSRF token, because only the signature counts, and no cookie or session.
A forged webhook costs one SQL statement, which reads its connection.
"""

import hashlib
import logging

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error as AnyDatabaseError
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from approvals import tasks
from approvals.intake import ingest
from approvals.intake.unsigned import count_unsigned
from common.addresses import came_unencrypted, client_address
from common.bodies import declared_length, json_answer, read_body
from common.disk import is_disk_full_error
from common.logs import given_id, traced
from mirror.models import Connection, WebhookEvent
from policy.tasks import read_refusals
from upstream.events import REFUSED
from upstream.signatures import HEADER, verify

log = logging.getLogger(__name__)

# Bytes.
MAX_BODY = 256 * 1024
# The annotation of a connection whose previous secret still counts beside the new one.
_OVERLAPS = "previous_secret_is_valid"


@login_not_required
@csrf_exempt
@require_POST
def multimail_webhook(request: HttpRequest, webhook_id: str) -> HttpResponse:
    """Receive one webhook. 2xx means that it is stored; any other status means that it
    is not, and the answer says what to do.

    There is one exception: a signed body that is no event gets 400, and is stored for
    admins to see.
    """
    try:
        return _take_in(request, webhook_id)
    except AnyDatabaseError as error:
        log.error("webhook not stored", extra={"reason": type(error).__name__})
        why = (
            "disk is full"
            if is_disk_full_error(error)
            else "database is not responding"
        )
        answer = _refused(
            503, f"The desk's {why}. Nothing was stored. Send it again.", wait=10
        )
        # Already logged above. Django's own log line would contain the path, which is
        # secret.
        answer._has_been_logged = True  # type: ignore[attr-defined]
        return answer


def _take_in(request: HttpRequest, webhook_id: str) -> HttpResponse:
    # Checks the request and its signature, then stores and applies the webhook, and
    # enqueues what follows from it.
    if settings.HTTPS and came_unencrypted(request):
        return _refused(
            403, "Send webhooks to the https address; this one was sent unencrypted."
        )
    connection = sender(webhook_id)
    if connection is None:
        return _refused(
            404,
            "No connection has this webhook address. Copy it again from the connection's page.",
        )
    content_type = request.content_type or ""
    is_json = content_type == "application/json" or (
        content_type.startswith("application/") and content_type.endswith("+json")
    )
    if not is_json:
        return _refused(415, "Send the event as application/json.")
    body = read_body(request, most=MAX_BODY)
    if body is None:
        return _refused(
            413,
            f"The body is larger than {MAX_BODY // 1024} KiB. MultiMail's events are smaller.",
        )
    if len(body) < declared_length(request, most=MAX_BODY):
        return _refused(
            400, "The body ended before its Content-Length was reached. Send it again."
        )
    secret_used = verify(body, request.headers.get(HEADER, ""), secrets_of(connection))
    if not secret_used:
        wait = count_unsigned(connection=connection.pk, address=client_address(request))
        if wait:
            # Not logged, because there would be too many lines.
            return _refused(
                429,
                "Too many webhooks without a valid signature came from there or for this address.",
                wait=wait,
            )
        log.warning(
            "webhook refused",
            extra={"connection": connection.slug, "reason": "signature"},
        )
        return _refused(
            401,
            f"The signature in {HEADER} does not match the body. Check that the signing secret of this webhook is "
            "the one on the connection's page, and that nothing on the way changes the body.",
        )
    with traced(
        given_id(request.headers.get("X-Request-Id"))
        or hashlib.sha256(body).hexdigest()[:16]
    ):
        stored = ingest.receive_webhook(
            connection=connection,
            body=body,
            secret_used=secret_used,
            address=client_address(request),
        )
        log.info(
            "webhook stored",
            extra={"connection": connection.slug, "result": stored.result},
        )
        if stored.fetch is not None:
            tasks.hydrate.delay_on_commit(stored.fetch.pk)
        if stored.ask is not None:
            tasks.ask_about.delay_on_commit(stored.ask.pk)
        if stored.result == WebhookEvent.Result.CHECKING:
            tasks.check_reports.delay_on_commit(connection.pk)
        if stored.event is not None and stored.event.name == REFUSED:
            read_refusals.delay_on_commit(connection.pk)
    if stored.problem:
        return json_answer(400, {"error": stored.problem, "stored": True})
    return json_answer(200, {"result": stored.result})


def _refused(status: int, sentence: str, *, wait: int = 0) -> HttpResponse:
    answer = json_answer(status, {"error": sentence})
    if wait:
        answer.headers["Retry-After"] = str(wait)
    return answer


def sender(webhook_id: str) -> Connection | None:
    """Return the connection with this webhook id; None if there is none."""
    # By the database's clock: a host whose clock is wrong would refuse valid
    # signatures.
    overlaps = ExpressionWrapper(
        Q(previous_secret_until__gt=Now()) | Q(previous_secret_until=None),
        output_field=BooleanField(),
    )
    at_work = Connection.objects.at_work().annotate(**{_OVERLAPS: overlaps})
    # PostgreSQL rejects U+0000 in parameters.
    return at_work.filter(webhook_id=webhook_id.replace("\0", " ")).first()


def secrets_of(connection: Connection) -> dict[str, str]:
    """Return by name the secrets with which webhooks of this connection may be signed
    now.
    """
    secrets = {"current": connection.webhook_secret}
    if getattr(connection, _OVERLAPS, False):
        secrets["previous"] = connection.previous_webhook_secret
    return secrets
