"""Takes a letter, new or an answer, and tells its author what became of it: one answer for all dialects."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone

from gateway import compose, shapes
from gateway.answers.base import answer
from gateway.auth import KeyedRequest
from gateway.compose import Accepted
from gateway.errors import Invalid
from gateway.letters import Letter
from gateway.models import Email, Mailbox
from gateway.modes import Mode
from gateway.schemas.fields import MAX_KEY

_HELD = (
    "Held for review: a person decides whether this message leaves. Being held is not an error. Do not send it again; "
    "read the message, or wait for the webhook, to learn the decision."
)
_LEAVING = "Accepted: this message leaves without review."
_AGAIN = "This idempotency key was used before. This is the message it made; nothing was sent again."
_MISMATCH = (
    "This idempotency key was used before, for a letter with other content. This is that message; the letter of this "
    "request was not taken. Give each letter its own key."
)


def accept(request: KeyedRequest, mailbox: Mailbox, letter: Letter, *, flat: bool) -> HttpResponse:
    """Store the letter, answer for it, and move it on."""
    accepted = compose.accept_letter(key=request.auth, mailbox=mailbox, letter=letter, now=timezone.now())
    # The answer is settled before the message moves on: its first status is always the same.
    told = _told(accepted, flat=flat)
    if not accepted.repeated:
        told["message"] += _overruled(letter.mode, accepted.email)
        compose.move_on_or_leave(email=accepted.email, now=timezone.now())
    return answer(told, status=200 if accepted.repeated else 202)


def header_key(request: KeyedRequest) -> str:
    """Return the idempotency key of the header, or an empty text. Raises Invalid."""
    key: str = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > MAX_KEY:
        raise Invalid(f"Idempotency-Key: at most {MAX_KEY} characters.", field="idempotency_key")
    return key


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
        "oversight_mode": email.oversight_mode,
        "message": _HELD if email.gated else _LEAVING,
    }
    if accepted.repeated:
        told |= {"status": "queued" if flat else "already_sent", "idempotent": True, "message": _AGAIN}
        told |= {"idempotency_mismatch": True, "message": _MISMATCH} if accepted.mismatch else {}
        told |= {"current": shapes.outcome(email)}
    return told


def _overruled(asked: Mode | None, email: Email) -> str:
    """Return what there is to say of a mode that the call asked for and did not get."""
    if asked is None or asked == email.oversight_mode:
        return ""
    return (
        f" The call asked for oversight_mode {asked}, but {email.oversight_mode} holds: a call may only be stricter "
        f"than its mailbox. POST /v1/mailboxes/{email.mailbox.address}/request-upgrade asks for a looser mode."
    )
