"""The page of a person's notices, and the ways to read them."""

from django.db.models.functions import Now
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from common.pages import (
    DeskRequest,
    first_or_404,
    page_or_fragment,
    redirect_with_notice,
)
from notices.models import Notice
from notices.wording import shown

# How many notices the page lists.
LISTED = 100


@require_safe
def notices(request: DeskRequest) -> HttpResponse:
    """List the person's notices, newest first."""
    rows = Notice.objects.for_list(request.actor)[:LISTED]
    return page_or_fragment(
        request,
        page="notices/notices.html",
        fragment="notices/_list.html",
        context={"rows": [shown(one) for one in rows]},
    )


@require_safe
def open_notice(request: DeskRequest, notice_id: int) -> HttpResponse:
    """Mark a notice as read, and redirect to what it is about."""
    notices = Notice.objects.for_list(request.actor).filter(pk=notice_id)
    notice = first_or_404(notices, "This notice is not yours, or what it says is over.")
    notices.filter(read_at=None).update(read_at=Now())
    return redirect(shown(notice).path)


@require_POST
def read_notices(request: DeskRequest, notice_id: int | None = None) -> HttpResponse:
    """Mark a notice as read, or all."""
    unread = Notice.objects.unread(request.actor)
    if notice_id is not None:
        unread = unread.filter(pk=notice_id)
    number = unread.update(read_at=Now())
    notice = f"{number} notice{'' if number == 1 else 's'} marked as read."
    return redirect_with_notice(request, notice, "notices")
