"""The audit log of the API: what was done with which key."""

from django.http import HttpResponse
from ninja import Router

from gateway import hook_shapes, paging
from gateway.answers.base import answer, documented
from gateway.answers.webhooks import AuditLog
from gateway.auth import KeyedRequest, needs
from gateway.models import AuditLogEntry
from gateway.models.accounts import Scope

router = Router(tags=["account"])


@router.get("/audit-log", auth=needs(Scope.ADMIN), response=documented(AuditLog))
def list_audit_log(request: KeyedRequest, limit: str = "", cursor: str = "") -> HttpResponse:
    """List what was done with which key, newest first."""
    rows = AuditLogEntry.objects.visible_to(request.auth)
    if before := paging.read_cursor(cursor):
        rows = rows.filter(pk__lt=before)
    size = paging.clamp(limit, default=100, most=500)
    page, following = paging.cut(list(rows[: size + 1]), size)
    return answer({"entries": [hook_shapes.entry(entry) for entry in page], "cursor": following})
