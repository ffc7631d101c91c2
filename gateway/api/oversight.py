"""What waits for a decision, and the decision itself."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router

from gateway import decide, paging, shapes
from gateway.answers.base import answer, documented
from gateway.answers.messages import Decided, PendingMessages
from gateway.auth import KeyedRequest, needs
from gateway.filters import PendingFilters
from gateway.lookups import email_named, mailbox_named
from gateway.models import Email
from gateway.models.accounts import Scope
from gateway.schemas.oversight import DecideIn, Verdict
from gateway.states import AWAITING_DECISION, Decision, Direction
from gateway.timestamps import iso

router = Router(tags=["oversight"])


@router.get(
    "/oversight/pending", auth=needs(Scope.OVERSIGHT, Scope.OVERSIGHT_READ), response=documented(PendingMessages)
)
def list_pending(request: KeyedRequest, filters: Query[PendingFilters]) -> HttpResponse:
    """List held messages, oldest first, with all that a decision needs; with `email_id` only that one."""
    return _list_pending(request, filters, flat=False)


def list_pending_flat(request: KeyedRequest, filters: Query[PendingFilters]) -> HttpResponse:
    """List held messages, oldest first; `to` is text."""
    return _list_pending(request, filters, flat=True)


@router.post("/oversight/decide", auth=needs(Scope.OVERSIGHT), response=documented(Decided))
def decide_email(request: KeyedRequest, body: DecideIn) -> HttpResponse:
    """Approve or reject a held message. The first decision wins; 409 says what became of it otherwise."""
    return _decide(request, body.names_email(), body, flat=False)


def decide_flat(request: KeyedRequest, body: DecideIn) -> HttpResponse:
    """Approve or reject a held message."""
    return decide_by_id(request, body.names_email(), body)


def decide_by_id(request: KeyedRequest, email_id: str, body: Verdict) -> HttpResponse:
    """Approve or reject the held message of this id."""
    return _decide(request, email_id, body, flat=True)


def _list_pending(request: KeyedRequest, filters: PendingFilters, *, flat: bool) -> HttpResponse:
    if filters.email_id:
        return _one(email_named(request.auth, filters.email_id), filters, flat=flat)
    emails = Email.objects.visible_to(request.auth).awaiting_decision().with_mailbox().with_key().with_attachments()
    if filters.mailbox:
        emails = emails.filter(mailbox=mailbox_named(request.auth, filters.mailbox))
    if cursor := paging.read_cursor(filters.cursor):
        emails = emails.filter(id__gt=cursor)
    limit = filters.page_size()
    if limit is None:
        return _rows(list(emails), None, filters, flat=flat)
    page, following = paging.cut(list(emails[: limit + 1]), limit)
    return _rows(page, following, filters, flat=flat)


def _one(email: Email, filters: PendingFilters, *, flat: bool) -> HttpResponse:
    if email.status in AWAITING_DECISION:
        return _rows([email], None, filters, flat=flat)
    # Closed or not yet at the gate: nothing to decide, and what became of it.
    return _rows([], None, filters, flat=flat, outcome=shapes.outcome(email) | shapes.delivery(email))


def _rows(
    emails: Sequence[Email],
    cursor: str | None,
    filters: PendingFilters,
    *,
    flat: bool,
    outcome: dict[str, Any] | None = None,
) -> HttpResponse:
    rows = [shapes.pending(email, flat=flat) for email in emails]
    names = ("pending",) if filters.only == "pending" else ("pending", "emails", "messages")
    return answer(dict.fromkeys(names, rows) | {"count": len(rows), "cursor": cursor} | (outcome or {}))


def _decide(request: KeyedRequest, email_id: str, body: Verdict, *, flat: bool) -> HttpResponse:
    email = decide.decide_email(
        key=request.auth,
        email_id=email_id,
        outcome=body.outcome(),
        reason=(body.reason or "").strip(),
        decided_by=(body.decided_by or "").strip(),
        expected_fingerprint=body.expected_fingerprint or "",
        now=timezone.now(),
    )
    told = {
        "id": email.pk,
        "email_id": email.pk,
        "message_id": email.pk,
        "status": _word(email, flat=flat),
        "decision": email.decision,
        "action": "approve" if email.decision == Decision.APPROVED else "reject",
        "reason": email.decision_reason or None,
        "decided_at": iso(email.decided_at),
        "decided_by": email.decided_by,
        "message": f"The message is {email.decision}.",
    }
    if told["status"] == "approved_and_sent" or (flat and _leaves_now(email)):
        told["postmark_message_id"] = email.message_id_header
    return answer(told)


def _leaves_now(email: Email) -> bool:
    waits = email.send_at is not None and email.decided_at is not None and email.send_at > email.decided_at
    return email.decision == Decision.APPROVED and email.direction == Direction.OUTBOUND and not waits


def _word(email: Email, *, flat: bool) -> str:
    return "approved_and_sent" if _leaves_now(email) and not flat else email.decision
