"""What is past the desk, newest first."""

from dataclasses import replace

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.models import Verdict
from approvals.queue.filters import Filters
from approvals.queue.forms import QueueForm
from approvals.queue.querysets import place_of
from approvals.queue.rows import rows_of
from approvals.queue.views import PAGE, page_of
from common.pages import DeskRequest, page_or_fragment
from people.actors import Actor


@login_required
@require_safe
def history(request: DeskRequest) -> HttpResponse:
    """Show a page of it."""
    actor: Actor = request.actor
    # This page has nothing to narrow it by, so its address does not either.
    after = QueueForm({"tab": "done", "after": request.GET.get("after", "")}).filters().after
    filters = Filters(tab="done", after=after)
    found = page_of(actor, filters)
    rows = rows_of(found[:PAGE], filters=filters, actor=actor, now=timezone.now(), weights={})
    newest = Verdict.objects.newest_on(found[:PAGE])
    context = {
        "rows": [replace(row, verdict=newest.get(row.message.pk)) for row in rows],
        "is_first_page": after is None,
        "next_after": str(place_of(found[PAGE - 1], "newest")) if len(found) > PAGE else "",
    }
    return page_or_fragment(request, page="approvals/history.html", fragment="approvals/_history.html", context=context)
