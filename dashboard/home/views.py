"""The home page's view."""

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.desk_messages import desk_messages
from approvals.models import Decision
from audit.models import Entry
from audit.trail import lines, with_subjects
from common.actors import Actor
from common.counts import count_of
from common.pages import DeskRequest, page_or_fragment, wants_fragment
from connections.accounts.views import connection_rows
from dashboard.home.overview import overview_of
from mirror.states import Outcome


@require_safe
def home(request: DeskRequest) -> HttpResponse:
    """Show waiting messages, the connections' health, and recent events; only the
    connections for a refresh.
    """
    actor = request.actor
    now = timezone.now()
    context: dict[str, Any] = {"connections": connection_rows(actor, now=now)}
    if not wants_fragment(request):
        visible = desk_messages().visible_to(actor)
        today = Now() - timedelta(hours=24)
        decisions = Decision.objects.visible_to(actor).recorded_since(today)
        entries = Entry.objects.readable_by(actor).without_steps().newest_first()
        context |= {
            **_waiting(actor),
            "approved": decisions.applied_as(Outcome.APPROVE).count(),
            "rejected": decisions.applied_as(Outcome.REJECT, Outcome.SEND_BACK).count(),
            "in_doubt": visible.in_doubt().count(),
            "failed": visible.failed().changed_since(today).count(),
            "lines": with_subjects(lines(entries[:12])),
            "panels": overview_of(actor),
            "now": now,
        }
    return page_or_fragment(
        request,
        page="dashboard/home.html",
        fragment="dashboard/_home_connections.html",
        context=context,
    )


@require_safe
def home_waiting(request: DeskRequest) -> HttpResponse:
    """Show what waits again, for an open home page; without htmx, the whole page."""
    if not wants_fragment(request):
        return redirect("home")
    return render(request, "dashboard/_home_waiting.html", _waiting(request.actor))


def _waiting(actor: Actor) -> dict[str, Any]:
    waiting = desk_messages().visible_to(actor).in_queue()
    return {
        "waiting": count_of(waiting),
        "oldest": waiting.for_name().oldest_first().first(),
    }
