"""The home page's view."""

from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.contrib.auth.decorators import login_required
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
from common.pages import DeskRequest, page_or_fragment, wants_fragment
from common.postgres.statements import RowQuery, ValueQuery, count_of, read_values
from connections.accounts.views import connection_rows
from dashboard.home.overview import overview_of
from mirror.models import Message
from mirror.models.messages import anybody_like, asked_by
from mirror.states import Outcome

# No day at a desk has more.
MOST = 1_000_000


@login_required
@require_safe
def home(request: DeskRequest) -> HttpResponse:
    """Show waiting messages, the connections' health, and recent events; only the connections for a refresh."""
    connections, fragment = connection_rows(request.actor, now=timezone.now()), "dashboard/_home_connections.html"
    context = {"connections": connections} | ({} if wants_fragment(request) else _today(request.actor))
    return page_or_fragment(request, page="dashboard/home.html", fragment=fragment, context=context)


@login_required
@require_safe
def home_waiting(request: DeskRequest) -> HttpResponse:
    """Show what waits again, for an open home page; without htmx, the whole page."""
    if not wants_fragment(request):
        return redirect("home")
    actor = request.actor
    counts = _counts(anybody_like(actor))
    context = read_values({"waiting": counts["waiting"]}, asked_by(actor)) | _first_in_line(actor)
    return render(request, "dashboard/_home_waiting.html", context)


def _first_in_line(actor: Actor) -> dict[str, Any]:
    return {"oldest": _oldest(anybody_like(actor)).first(asked_by(actor))}


def _today(actor: Actor) -> dict[str, Any]:
    found = read_values(_counts(anybody_like(actor)), asked_by(actor))
    return {
        **found,
        **_first_in_line(actor),
        "lines": with_subjects(lines(Entry.objects.readable_by(actor).without_steps().newest_first()[:12])),
        "panels": overview_of(actor, now=timezone.now()),
        "now": timezone.now(),
    }


@lru_cache(maxsize=256)
def _counts(actor: Actor) -> dict[str, ValueQuery]:
    """Return the numbers of the page."""
    visible, today = desk_messages().visible_to(actor), Now() - timedelta(hours=24)
    decisions = Decision.objects.visible_to(actor).recorded_since(today)
    return {
        "waiting": count_of(visible.in_queue()),
        "approved": count_of(decisions.applied_as(Outcome.APPROVE), most=MOST),
        "rejected": count_of(decisions.applied_as(Outcome.REJECT, Outcome.SEND_BACK), most=MOST),
        "in_doubt": count_of(visible.in_doubt(), most=MOST),
        "failed": count_of(visible.failed().changed_since(today), most=MOST),
    }


@lru_cache(maxsize=256)
def _oldest(actor: Actor) -> RowQuery[Message]:
    return RowQuery(desk_messages().visible_to(actor).in_queue().oldest_first()[:1])
