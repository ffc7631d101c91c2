"""Endpoints for monitoring: liveness, readiness and metrics."""

import hmac

from django.conf import settings
from django.db.models.functions import Now
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from common.addresses import comes_from_this_host
from common.grace import STUCK_AFTER
from common.pages import DeskRequest
from dashboard.health.checks import disk_has_space, postgresql_answers, redis_answers
from dashboard.health.metrics import exposition
from dashboard.models import Tick


@require_safe
def healthz(request: DeskRequest) -> HttpResponse:
    """Answer that this process is alive."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: DeskRequest) -> HttpResponse:
    """Report whether everything that the desk needs is available: PostgreSQL, Redis, disk space, worker and beat."""
    parts = {
        "postgresql": postgresql_answers(),
        "redis": redis_answers(),
        "disk": disk_has_space(),
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
    """Answer Prometheus, if it is on this host or has the token."""
    if not (comes_from_this_host(request) or _has_metrics_token(request)):
        sentence = "Only for monitors on the same host, or with METRICS_TOKEN as bearer token."
        return HttpResponse(sentence, status=403, content_type="text/plain; charset=utf-8")
    return HttpResponse(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _has_metrics_token(request: DeskRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    presented, wanted = token.strip().encode("utf-8", "surrogateescape"), settings.METRICS_TOKEN.encode()
    return bool(wanted) and scheme.lower() == "bearer" and hmac.compare_digest(presented, wanted)
