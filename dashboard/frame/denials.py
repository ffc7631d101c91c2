"""Records denied requests of signed-in people in the ledger: 403, or 404 for a row
outside their visible scope.

To the person such a row does not exist, but the attempt is recorded. The same URL is
recorded once a minute, so that a page that stays open after its reader lost a role does
not fill the ledger.
"""

import logging
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponseBase

from audit.models import Entry
from audit.recording import record
from audit.trail import lines
from common.logs import trace_id
from dashboard.frame.middleware import Middleware
from mirror.models import Message

log = logging.getLogger(__name__)

ONCE_A = timedelta(minutes=1)
MAX_PATH = 300


class DenialsMiddleware(Middleware):
    """Inside all middleware that changes responses: it sees the view's own response."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if is_denied(request, response.status_code):
            note_denied(request, response.status_code)
        return response


def is_denied(request: HttpRequest, status: int) -> bool:
    """Whether a response denied something to a signed-in person. A URL without a view
    denies nothing.
    """
    match = request.resolver_match
    if match is None or (status == 404 and not match.kwargs):
        return False
    if status not in (403, 404):
        return False
    return bool(request.actor.kind == "person")  # type: ignore[attr-defined]


@transaction.atomic
def note_denied(request: HttpRequest, status: int) -> None:
    """Record the denied request, unless this request has an entry already, or the same
    was recorded within a minute.
    """
    actor = request.actor  # type: ignore[attr-defined]
    path = request.path[:MAX_PATH]
    lately = (
        Entry.objects.of_person(int(actor.id))
        .of_action("access.denied")
        .since(ONCE_A)
        .newest_first()[:100]
    )
    refused = Entry.objects.filter(trace=trace_id.get(), action="verdict.refused")
    told = [
        (line.details.get("method"), line.details.get("path")) for line in lines(lately)
    ]
    if (request.method, path) in told or refused.exists():
        return
    # The requested message, if there is one, so that the attempt is in its audit trail.
    message = None
    match = request.resolver_match
    named = match.kwargs.get("public_id") if match else None
    if isinstance(named, UUID):
        message = Message.objects.filter(public_id=named).first()
    log.warning(
        "access denied", extra={"path": path, "status": status, "person": actor.id}
    )
    record(
        "access.denied",
        actor=actor,
        connection=message.connection_id if message else None,
        message=message.public_id if message else None,
        details={"method": str(request.method), "path": path, "status": str(status)},
    )
