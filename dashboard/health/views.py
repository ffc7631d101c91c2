"""The endpoints for monitoring: liveness, readiness, and metrics for Prometheus.

The metrics are read from the database for each request, so that any web process can
answer.
"""

import math
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.models import Count, Max, Min, QuerySet
from django.db.models.functions import Now
from django.http import HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from alerts.models import Delivery
from approvals.desk_messages import desk_messages
from approvals.intake import unsigned
from approvals.models import Decision
from approvals.operations.attention import attention_for
from audit.models import Check
from audit.sealing.status import sealing_state
from common.actors import Role, operator
from common.addresses import comes_from_this_host
from common.disk import is_full
from common.grace import STUCK_AFTER
from common.pages import DeskRequest
from common.postgres import clock, is_read_only
from common.version import product_commit, product_version
from dashboard.health import checks
from dashboard.models import Tick
from dashboard.probes import desk_id
from dashboard.words import STUCK
from mirror.models import Connection, Message, WebhookEvent
from mirror.models.connections import is_well
from mirror.states import DecisionState
from policy.models import KillSwitch


@login_not_required
@require_safe
def healthz(request: DeskRequest) -> HttpResponse:
    """Answer that this process is alive, and to which desk it belongs."""
    return JsonResponse({"status": "ok", "desk": desk_id()})


@login_not_required
@require_safe
def readyz(request: DeskRequest) -> HttpResponse:
    """Report whether all parts of the desk work and its workers keep up; 503 if not."""
    has_database = checks.database_error() is None and not checks.lost_rights()
    parts = {
        # Asked, not tried: nobody has signed in here, so no row is written. Redis gets a
        # key that ends by itself.
        "postgresql": has_database and not is_read_only(),
        "redis": checks.redis_works(),
        # The seals' file and an embedded PostgreSQL are on this disk.
        "disk": not is_full(settings.DATA_DIR),
        "parser": checks.parser_answers(),
    }
    # Of the others nothing is known without it.
    if has_database:
        parts["beat and worker"] = not checks.silent_jobs()
        # When the desk starts, work is late through no fault of its workers.
        is_early = checks.is_starting() or checks.is_warming_up()
        parts["work"] = is_early or not _has_late_work()
    missing = [name for name, is_there in parts.items() if not is_there]
    return JsonResponse(
        {"status": "ok" if not missing else "not ready", "parts": parts},
        status=503 if missing else 200,
    )


def _has_late_work() -> bool:
    """Whether work is late that a worker should have done at least a minute ago.

    Work that a kill switch, a pause, a failing MultiMail, a slow destination or hostile
    content blocks is not late, because a restarted worker could not do it either. `doctor` lists what
    is late.
    """
    long_ago = Now() - STUCK_AFTER
    sealing = sealing_state(clock())
    decisions = Decision.objects.due().filter(
        due_at__lt=long_ago, message__connection__failing_since=None
    )
    return (
        decisions.exists()
        or Message.objects.long_unread()
        .filter(is_well("connection__"), read_after=None)
        .exists()
        or Delivery.objects.overdue().exists()
        or (
            sealing.is_on
            and sealing.is_late
            and not sealing.is_blocked
            and not sealing.is_stopped
        )
    )


@login_not_required
@require_safe
def metrics(request: DeskRequest) -> HttpResponse:
    """Answer Prometheus, if it is on this host or presents METRICS_TOKEN."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    has_token = (
        bool(settings.METRICS_TOKEN)
        and scheme.lower() == "bearer"
        and constant_time_compare(token.strip(), settings.METRICS_TOKEN)
    )
    if not (comes_from_this_host(request) or has_token):
        return HttpResponse(
            "Only for monitors on the same host, or with METRICS_TOKEN as bearer token.",
            status=403,
            content_type="text/plain; charset=utf-8",
        )
    return HttpResponse(
        exposition(), content_type="text/plain; version=0.0.4; charset=utf-8"
    )


def exposition() -> str:
    """Return all metrics in Prometheus' text format. Ages are by the database's
    clock.
    """
    registry = CollectorRegistry()
    now = clock()

    def gauge(name: str, text: str, value: float) -> None:
        Gauge(f"countersign_{name}", text, registry=registry).set(value)

    build = Gauge(
        "countersign_build_info",
        "1; the labels say what runs.",
        ["version", "commit"],
        registry=registry,
    )
    build.labels(product_version(), product_commit()).set(1)
    waiting = desk_messages().awaiting_review()
    gauge("messages_waiting", "Messages waiting for a decision.", waiting.count())
    gauge(
        "oldest_waiting_seconds",
        "Age of the oldest of them.",
        _oldest(waiting, "held_at", now),
    )
    decisions = Decision.objects.all()
    recorded = decisions.filter(state=DecisionState.RECORDED)
    gauge(
        "decisions_recorded",
        "Decisions that are not carried out yet.",
        recorded.count(),
    )
    due = recorded.filter(due_at__lte=now)
    gauge("decisions_due", "Decisions that are due, whatever blocks them.", due.count())
    gauge(
        "oldest_due_seconds",
        "How long the oldest of them has been due.",
        _oldest(due, "due_at", now),
    )
    in_doubt = decisions.in_doubt()
    gauge(
        "decisions_in_doubt", "Decisions whose outcome is not known.", in_doubt.count()
    )
    gauge(
        "oldest_in_doubt_seconds",
        "Age of the oldest of them.",
        _oldest(in_doubt, "changed_at", now),
    )
    pulled = KillSwitch.objects.pulled().count()
    gauge("kill_switches_pulled", "Kill switches that stop something.", pulled)
    forged = unsigned.unsigned_total()
    if forged is not None:
        gauge("webhooks_unsigned", "Webhooks without a valid signature, ever.", forged)
    active = Connection.objects.at_work()
    failing = active.filter(failing_since__isnull=False).count()
    gauge("connections_failing", "Connections that cannot be read.", failing)
    gauge(
        "connections_paused",
        "Connections through which nothing is decided.",
        active.filter(paused_at__isnull=False).count(),
    )
    sealing = sealing_state(now)
    gauge(
        "ledger_unsealed",
        "Entries of the ledger that no seal covers, up to 10,001.",
        sealing.unsealed,
    )
    gauge(
        "ledger_oldest_unsealed_seconds",
        "Age of the oldest of them.",
        _seconds(sealing.age),
    )
    gauge(
        "ledger_seal_age_seconds",
        "Since the ledger was last sealed.",
        _age(sealing.last.at if sealing.last else None, now),
    )
    gauge(
        "ledger_stopped",
        "Whether the sealer has stopped because of an error.",
        sealing.is_stopped,
    )
    check = Check.objects.latest_finished().first()
    gauge(
        "ledger_check_age_seconds",
        "Since the last full check of the ledger.",
        _age(check.ended_at if check else None, now),
    )
    broken = check is not None and check.is_broken
    gauge("ledger_broken", "Whether the last full check failed.", broken)
    ages = Gauge(
        "countersign_complete_age_seconds",
        "Since the last complete read of what MultiMail holds.",
        ["connection"],
        registry=registry,
    )
    unapplied = Gauge(
        "countersign_webhooks_to_look_at",
        "Webhooks that were stored but not applied.",
        ["connection", "result"],
        registry=registry,
    )
    stored = (
        WebhookEvent.objects.to_look_at()
        .values_list("connection__slug", "result")
        .annotate(number=Count("pk"))
    )
    counted = {(slug, result): number for slug, result, number in stored.order_by()}
    ages_by_slug = active.values_list("slug", "complete_as_of").order_by("slug")
    for slug, complete_as_of in ages_by_slug:
        ages.labels(slug).set(_age(complete_as_of, now))
        for result in (
            WebhookEvent.Result.POISON,
            WebhookEvent.Result.LATE,
            WebhookEvent.Result.REFUTED,
        ):
            unapplied.labels(slug, result).set(counted.get((slug, result), 0))
    ticks = Gauge(
        "countersign_last_tick_age_seconds",
        "Since a background job last ran.",
        ["task"],
        registry=registry,
    )
    for job, at in (
        Tick.objects.values_list("job").annotate(last=Max("at")).order_by("job")
    ):
        ticks.labels(job).set(_age(at, now))
    numbers = Gauge(
        "countersign_needs_attention",
        "Things of a kind that need a person.",
        ["kind"],
        registry=registry,
    )
    oldest = Gauge(
        "countersign_needs_attention_oldest_seconds",
        "Age of the oldest of them, if it is known.",
        ["kind"],
        registry=registry,
    )
    items = attention_for(operator("metrics", Role.ADMIN), now)
    for kind in STUCK:
        found = [one for one in items if one.kind == kind]
        numbers.labels(kind).set(sum(one.number for one in found))
        since = min([one.since or now for one in found], default=now)
        oldest.labels(kind).set(_age(since, now))
    return generate_latest(registry).decode()


def _oldest(
    rows: QuerySet[Message] | QuerySet[Decision], column: str, now: datetime
) -> float:
    oldest = rows.aggregate(oldest=Min(column))["oldest"]
    return _age(oldest, now) if oldest else 0


def _age(at: datetime | None, now: datetime) -> float:
    # What never happened counts as older than any limit of an alert.
    return _seconds(now - at) if at else math.inf


def _seconds(age: timedelta) -> float:
    return round(max(0.0, age.total_seconds()), 1)
