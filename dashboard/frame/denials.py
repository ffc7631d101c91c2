"""Notes in the ledger whoever is signed in and asks for what they may not have: 403, or 404 for a row out of reach.

To the person a row out of reach does not exist; who tried is written down all the same. The same address counts once
a minute, so that a page that stays open after its reader lost a role does not fill the ledger.
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
from people.actors import Actor

log = logging.getLogger(__name__)

ONCE_A = timedelta(minutes=1)
MAX_PATH = 300


class DenialsMiddleware(Middleware):
    """Stands closest to the views, so that it sees what each of them answered, and what kept them from being asked."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if is_denied(request, response.status_code):
            note_denied(request, response.status_code)
        return response


def is_denied(request: HttpRequest, status: int) -> bool:
    """Whether an answer kept something from somebody who is signed in; an address that leads nowhere keeps nothing."""
    match = request.resolver_match
    if match is None or status not in (403, 404) or (status == 404 and not match.kwargs):
        return False
    return bool(request.actor.kind == "person")  # type: ignore[attr-defined]


@transaction.atomic
def note_denied(request: HttpRequest, status: int) -> None:
    """Write down who asked for what, unless another entry of this request says it, or the same was asked just now."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    path = request.path[:MAX_PATH]
    lately = Entry.objects.of_person(int(actor.id)).of_action("access.denied").since(ONCE_A).newest_first()[:100]
    refused = Entry.objects.filter(trace=trace_id.get(), action="verdict.refused")
    if refused.exists() or any(_method_and_path(line.details) == (request.method, path) for line in lines(lately)):
        return
    message = _message_in(request)
    log.warning("access denied", extra={"path": path, "status": status, "person": actor.id})
    record(
        "access.denied",
        actor=actor,
        connection=message.connection_id if message else None,
        message=message.public_id if message else None,
        details={"method": str(request.method), "path": path, "status": str(status)},
    )


def _method_and_path(details: dict[str, str]) -> tuple[str, str]:
    return details.get("method", ""), details.get("path", "")


def _message_in(request: HttpRequest) -> Message | None:
    """Return the message that was asked for, where there is one: its trace tells who tried."""
    named = request.resolver_match.kwargs.get("public_id") if request.resolver_match else None
    return Message.objects.filter(public_id=named).first() if isinstance(named, UUID) else None
