"""Sending: the current dialect by mailbox path, and the flat one with the sender in the body."""

import logging
from typing import Any

from django.db import DatabaseError
from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from gateway import compose, shapes
from gateway.answers.base import answer, documented
from gateway.answers.messages import Sent
from gateway.auth import KeyedRequest, needs
from gateway.compose import Accepted
from gateway.errors import Invalid
from gateway.lookups import mailbox_named, mailbox_named_or_only
from gateway.models import Mailbox
from gateway.models.accounts import Scope
from gateway.schemas.fields import MAX_KEY
from gateway.schemas.send import SendIn

log = logging.getLogger(__name__)

router = Router(tags=["send"])

_HELD = (
    "Held for review: a person decides whether this message leaves. Being held is not an error. Do not send it again; "
    "read the message, or wait for the webhook, to learn the decision."
)
_LEAVING = "Accepted: this message leaves without review."
_AGAIN = "This idempotency key was used before. This is the message it made; nothing was sent again."


@router.post("/mailboxes/{mailbox}/send", auth=needs(Scope.SEND), response=documented(Sent, status=202, also=(200,)))
def send(request: KeyedRequest, mailbox: str, body: SendIn) -> HttpResponse:
    """Send a message from a mailbox. Gated mailboxes hold it for review."""
    return _send(request, mailbox_named(request.auth, mailbox), body, flat=False)


def send_flat(request: KeyedRequest, body: SendIn) -> HttpResponse:
    """Send a message; `from` names the mailbox. Answers `queued` for every accepted message."""
    return _send(request, mailbox_named_or_only(request.auth, body.names_mailbox()), body, flat=True)


def _send(request: KeyedRequest, mailbox: Mailbox, body: SendIn, *, flat: bool) -> HttpResponse:
    letter = body.letter(header_key=_header_key(request))
    accepted = compose.accept_letter(key=request.auth, mailbox=mailbox, letter=letter, now=timezone.now())
    # The answer is settled before the message moves on: its first status is always the same.
    told = _told(accepted, flat=flat)
    if not accepted.repeated:
        _move_on(accepted)
    return answer(told, status=200 if accepted.repeated else 202)


def _header_key(request: KeyedRequest) -> str:
    key: str = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > MAX_KEY:
        raise Invalid(f"Idempotency-Key: at most {MAX_KEY} characters.", field="idempotency_key")
    return key


def _move_on(accepted: Accepted) -> None:
    try:
        compose.move_on(email=accepted.email, now=timezone.now())
    except DatabaseError as error:
        # The message is stored and answered for; the sweep moves it on.
        log.warning("left for the sweep", extra={"email": accepted.email.pk, "reason": type(error).__name__})


def _told(accepted: Accepted, *, flat: bool) -> dict[str, Any]:
    email = accepted.email
    told: dict[str, Any] = {
        "id": email.pk,
        "email_id": email.pk,
        "message_id": email.pk,
        "thread_id": email.thread_id,
        "mailbox_id": email.mailbox_id,
        "status": "queued" if flat else email.status,
        "oversight_status": "pending_approval" if email.gated else "not_required",
        "message": _HELD if email.gated else _LEAVING,
    }
    if accepted.repeated:
        told |= {"status": "queued" if flat else "already_sent", "idempotent": True, "message": _AGAIN}
        told |= {"idempotency_mismatch": True} if accepted.mismatch else {}
        told |= {"current": shapes.outcome(email)}
    return told
