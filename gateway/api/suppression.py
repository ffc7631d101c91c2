"""Addresses that get nothing any more."""

from typing import Any

from django.http import HttpResponse
from ninja import Router

from common.patterns import comparable_text
from gateway import paging, suppression
from gateway.answers.base import answer, documented
from gateway.answers.recipients import SuppressionLifted, Suppressions
from gateway.auth import KeyedRequest, needs
from gateway.errors import NotFound
from gateway.models import Suppression
from gateway.models.accounts import Scope
from gateway.timestamps import iso

router = Router(tags=["recipients"])


@router.get("/suppression", auth=needs(Scope.ADMIN, Scope.SEND), response=documented(Suppressions))
def list_suppressions(request: KeyedRequest, limit: str = "", cursor: str = "") -> HttpResponse:
    """List suppressed addresses, newest first. Mail to one is refused, until it is taken off the list."""
    rows = Suppression.objects.applying_to(request.auth)
    if before := paging.read_cursor(cursor):
        rows = rows.filter(pk__lt=before)
    size = paging.clamp(limit, default=500, most=1000)
    page, following = paging.cut(list(rows[: size + 1]), size)
    return answer({"suppressions": [_suppression(row) for row in page], "cursor": following})


@router.delete("/suppression/{path:address}", auth=needs(Scope.ADMIN), response=documented(SuppressionLifted))
def lift_suppression(request: KeyedRequest, address: str) -> HttpResponse:
    """Take an address off the list, so that it is written to again. It may be percent-encoded or not."""
    found = Suppression.objects.visible_to(request.auth).filter(email_address=comparable_text(address)).first()
    if found is None:
        raise NotFound("This address is not suppressed.")
    suppression.lift(key=request.auth, suppression=found)
    return answer({"id": found.pk, "email_address": found.email_address, "status": "removed"})


def _suppression(row: Suppression) -> dict[str, Any]:
    return {
        "id": row.pk,
        "email_address": row.email_address,
        "reason": row.reason,
        "mailbox_id": row.mailbox_id,
        "created_at": iso(row.created_at),
    }
