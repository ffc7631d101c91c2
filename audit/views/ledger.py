"""The ledger for people, newest first."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from audit.forms import LedgerForm
from audit.models import Entry
from audit.trail import lines, with_subjects
from common.pages import DeskRequest, page_or_fragment

PAGE = 100


@login_required
@require_safe
def ledger(request: DeskRequest) -> HttpResponse:
    """Show what happened, newest first, a hundred entries a page."""
    form = LedgerForm(request.GET)
    before, action = form.place()
    entries = Entry.objects.readable_by(request.actor).newest_first()
    if action:
        entries = entries.of_action(action)
    page = lines((entries.before(before) if before else entries)[: PAGE + 1])
    shown = page[:PAGE]
    if request.GET.get("format") == "json":
        return JsonResponse({"entries": [line.as_json() for line in shown]})
    context: dict[str, Any] = {
        "lines": with_subjects(shown),
        "form": form,
        "action": action,
        "next_before": shown[-1].entry.pk if len(page) > PAGE else "",
        "is_first_page": before is None,
        "now": timezone.now(),
    }
    return page_or_fragment(request, page="audit/ledger.html", fragment="audit/_ledger.html", context=context)
