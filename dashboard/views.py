"""The site's own pages: home, health, metrics, and where browsers report what the policy blocked."""

import hmac
import json
import logging
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models.functions import Now
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from approvals.models import Decision
from approvals.querysets.messages import desk_messages
from audit.models import Entry
from audit.trail import lines, with_subjects
from common.addresses import client_address, comes_from_this_host
from common.grace import STUCK_AFTER
from common.pages import DeskRequest, page_or_fragment, wants_fragment
from connections.accounts.views import connection_rows
from dashboard.frame.csp_reports import seconds_to_wait
from dashboard.frame.middleware import live_origin
from dashboard.health.checks import disk_has_room, postgresql_answers, redis_answers
from dashboard.health.metrics import exposition
from dashboard.home.overview import overview_of
from dashboard.models import Tick
from dashboard.serving.body_rules import MOST_OF_REPORT
from mirror.states import Outcome
from people.actors import Actor

log = logging.getLogger(__name__)


@login_required
@require_safe
def home(request: DeskRequest) -> HttpResponse:
    """Show what waits, how the connections are, and what happened last; the connections alone to an open page."""
    connections, fragment = connection_rows(request.actor, now=timezone.now()), "dashboard/_home_connections.html"
    context = {"connections": connections} | ({} if wants_fragment(request) else _today(request.actor))
    return page_or_fragment(request, page="dashboard/home.html", fragment=fragment, context=context)


def _today(actor: Actor) -> dict[str, Any]:
    visible = desk_messages().visible_to(actor)
    today = timezone.now() - timedelta(hours=24)
    decisions = Decision.objects.visible_to(actor).recorded_since(today)
    return {
        "waiting": visible.awaiting_review()[:1001].count(),
        "oldest": visible.awaiting_review().oldest_first().first(),
        "approved": decisions.applied_as(Outcome.APPROVE).count(),
        "rejected": decisions.applied_as(Outcome.REJECT, Outcome.SEND_BACK).count(),
        "in_doubt": visible.in_doubt().count(),
        "failed": visible.failed().changed_since(today).count(),
        "lines": with_subjects(lines(Entry.objects.readable_by(actor).without_steps().newest_first()[:12])),
        "panels": overview_of(actor, now=timezone.now()),
        "now": timezone.now(),
    }


@require_safe
def healthz(request: DeskRequest) -> HttpResponse:
    """Say that this process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: DeskRequest) -> HttpResponse:
    """Say whether everything that the desk needs is there: PostgreSQL, Redis, room on the disk, a worker and a beat."""
    parts = {
        "postgresql": postgresql_answers(),
        "redis": redis_answers(),
        "disk": disk_has_room(),
        "beat and worker": False,
    }
    if parts["postgresql"]:
        parts["beat and worker"] = Tick.objects.filter(at__gt=Now() - STUCK_AFTER).exists()
    missing = [name for name, is_there in parts.items() if not is_there]
    return JsonResponse(
        {"status": "ok" if not missing else "not ready", "parts": parts}, status=503 if missing else 200
    )


@require_safe
def metrics(request: DeskRequest) -> HttpResponse:
    """Answer Prometheus: on this host, or with the token."""
    if not (comes_from_this_host(request) or _has_metrics_token(request)):
        sentence = "This is for a monitor on the same host, or with METRICS_TOKEN as its bearer token."
        return HttpResponse(sentence, status=403, content_type="text/plain; charset=utf-8")
    return HttpResponse(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _has_metrics_token(request: DeskRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given, wanted = token.strip().encode("utf-8", "surrogateescape"), settings.METRICS_TOKEN.encode()
    return bool(wanted) and scheme.lower() == "bearer" and hmac.compare_digest(given, wanted)


@require_safe
def live(request: DeskRequest) -> HttpResponse:
    """Lead to the live stream, which has a port of its own; behind a proxy that is the proxy's work."""
    if settings.LIVE_URL.startswith("/"):
        sentence = "The proxy before this desk must pass this path on to LIVE_PORT. Pages ask for news by themselves."
        return JsonResponse({"error": sentence}, status=404)
    response = HttpResponseRedirect(settings.LIVE_URL or f"{live_origin(request)}/live/")
    response.status_code = 307
    return response


@require_safe
def live_reach(request: DeskRequest) -> HttpResponse:
    """Tell the live process which connections and mailboxes the signed-in person may hear of."""
    actor = request.actor
    if actor.kind != "person":
        return JsonResponse({"error": "Nobody is signed in."}, status=401)
    reach = [{"connection": scope.connection, "mailbox": scope.mailbox} for scope in actor.scopes]
    return JsonResponse({"person": actor.id, "reach": reach})


@csrf_exempt
@require_POST
def csp_report(request: DeskRequest) -> HttpResponse:
    """Log what a browser's policy blocked: the directive and the address without its query."""
    if wait := seconds_to_wait(client_address(request), at=time.time()):
        return HttpResponse(status=429, headers={"Retry-After": str(wait)})
    try:
        report = json.loads(request.read(MOST_OF_REPORT)).get("csp-report", {})
        blocked = str(report.get("blocked-uri", ""))[:200].partition("?")[0]
        log.warning(
            "policy blocked", extra={"directive": str(report.get("violated-directive", ""))[:80], "blocked": blocked}
        )
    except (ValueError, AttributeError, RecursionError):
        log.warning("policy report unreadable")
    return HttpResponse(status=204)
