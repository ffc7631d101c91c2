"""Endpoints for monitoring: liveness, readiness and metrics."""

import hmac

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.models.functions import Now
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from alerts.models import Delivery
from approvals.models import Decision
from audit.sealing.status import sealing_state
from common.addresses import comes_from_this_host
from common.disk import is_full
from common.grace import STUCK_AFTER
from common.pages import DeskRequest
from common.postgres import clock
from dashboard.health.checks import (
    database_error,
    is_warming_up,
    parser_answers,
    redis_answers,
    silent_jobs,
)
from dashboard.health.metrics import exposition
from mirror.models import Message
from mirror.models.connections import is_well


@login_not_required
@require_safe
def healthz(request: DeskRequest) -> HttpResponse:
    """Answer that this process is alive."""
    return JsonResponse({"status": "ok"})


@login_not_required
@require_safe
def readyz(request: DeskRequest) -> HttpResponse:
    """Report whether the desk has all that it needs, and whether its workers keep up."""
    parts = {
        "postgresql": database_error() is None,
        "redis": redis_answers(),
        # PostgreSQL, where it is our own, and the seals' file grow there.
        "disk": not is_full(settings.DATA_DIR),
        "parser": parser_answers(),
        "beat and worker": False,
        "work": False,
    }
    if parts["postgresql"]:
        parts["beat and worker"] = not silent_jobs()
        # After a start that was down for long all of it is late at first.
        parts["work"] = is_warming_up() or not _has_late_work()
    missing = [name for name, is_there in parts.items() if not is_there]
    return JsonResponse(
        {"status": "ok" if not missing else "not ready", "parts": parts},
        status=503 if missing else 200,
    )


@login_not_required
@require_safe
def metrics(request: DeskRequest) -> HttpResponse:
    """Answer Prometheus, if it is on this host or has the token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    presented = token.strip().encode("utf-8", "surrogateescape")
    wanted = settings.METRICS_TOKEN.encode()
    has_token = (
        bool(wanted)
        and scheme.lower() == "bearer"
        and hmac.compare_digest(presented, wanted)
    )
    if not (comes_from_this_host(request) or has_token):
        sentence = (
            "Only for monitors on the same host, or with METRICS_TOKEN as bearer token."
        )
        return HttpResponse(
            sentence, status=403, content_type="text/plain; charset=utf-8"
        )
    return HttpResponse(
        exposition(), content_type="text/plain; version=0.0.4; charset=utf-8"
    )


def _has_late_work() -> bool:
    """Whether work that should have been done a minute ago is late, which nothing but a
    worker keeps waiting.

    What a kill switch, a pause, a failing MultiMail or a slow destination blocks is not
    late: that is no fault of a worker. The doctor names each item, by what needs
    attention.
    """
    long_ago = Now() - STUCK_AFTER
    sealing = sealing_state(clock())
    decisions = Decision.objects.due().filter(
        due_at__lt=long_ago, message__connection__failing_since=None
    )
    return (
        decisions.exists()
        or Message.objects.long_unread().filter(is_well("connection__")).exists()
        or Delivery.objects.overdue().exists()
        or (
            sealing.is_on
            and sealing.is_late
            and not sealing.is_blocked
            and not sealing.is_stopped
        )
    )
