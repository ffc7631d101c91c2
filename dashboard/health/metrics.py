"""The metrics for Prometheus: counts and ages of waiting, sent and doubtful messages,
and the state of reading.

Each scrape reads them from the database into a new registry, so that any web process
can answer.
"""

import math
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, QuerySet
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from approvals.desk_messages import desk_messages
from approvals.intake import unsigned
from approvals.models import Decision
from audit.models import Check
from audit.sealing.status import sealing_state
from common.postgres import clock
from dashboard.models import Tick
from mirror.models import Connection, Message, WebhookEvent
from mirror.states import DecisionState
from policy.models import KillSwitch

# The age of a connection that was never read: older than any alert's limit.
NEVER = math.inf


def exposition() -> str:
    """Return all metrics in Prometheus' text format; ages are by the database's clock."""
    registry = CollectorRegistry()
    now = clock()

    def gauge(name: str, text: str, value: float) -> None:
        Gauge(f"countersign_{name}", text, registry=registry).set(value)

    waiting = desk_messages().awaiting_review()
    gauge("messages_waiting", "Messages waiting for a decision.", waiting.count())
    gauge(
        "oldest_waiting_seconds",
        "Age of the oldest of them.",
        _age(waiting, "held_at", now),
    )
    decisions = Decision.objects.all()
    recorded = decisions.filter(state=DecisionState.RECORDED)
    text = "Decisions that are not carried out yet."
    gauge("decisions_recorded", text, recorded.count())
    due = recorded.filter(due_at__lte=now)
    text = "Decisions that are due, whatever blocks them."
    gauge("decisions_due", text, due.count())
    text = "How long the oldest of them has been due."
    gauge("oldest_due_seconds", text, _age(due, "due_at", now))
    in_doubt = decisions.in_doubt()
    text = "Decisions whose outcome is not known."
    gauge("decisions_in_doubt", text, in_doubt.count())
    gauge(
        "oldest_in_doubt_seconds",
        "Age of the oldest of them.",
        _age(in_doubt, "changed_at", now),
    )
    pulled = KillSwitch.objects.pulled().count()
    gauge("kill_switches_pulled", "Kill switches that stop something.", pulled)
    forged = unsigned.unsigned_total()
    if forged is not None:
        text = "Webhooks without a valid signature, ever."
        gauge("webhooks_unsigned", text, forged)
    active = Connection.objects.at_work()
    failing = active.filter(failing_since__isnull=False).count()
    gauge("connections_failing", "Connections that cannot be read.", failing)
    text = "Connections through which nothing is decided."
    gauge("connections_paused", text, active.filter(paused_at__isnull=False).count())
    state = sealing_state(now)
    text = "Entries of the ledger that no seal covers, up to 10,001."
    gauge("ledger_unsealed", text, state.unsealed)
    text = "Age of the oldest of them."
    gauge("ledger_oldest_unsealed_seconds", text, _seconds(state.age))
    sealed = _seconds(now - state.last.at) if state.last else NEVER
    gauge("ledger_seal_age_seconds", "Since the ledger was last sealed.", sealed)
    text = "Whether the sealer has stopped because of an error."
    gauge("ledger_stopped", text, state.is_stopped)
    check = Check.objects.latest_finished().first()
    checked = _seconds(now - check.ended_at) if check and check.ended_at else NEVER
    text = "Since the last full check of the ledger."
    gauge("ledger_check_age_seconds", text, checked)
    broken = check is not None and check.state == Check.State.BROKEN
    gauge("ledger_broken", "Whether the last full check failed.", broken)
    text = "Since the last complete read of what MultiMail holds."
    ages = Gauge(
        "countersign_complete_age_seconds", text, ["connection"], registry=registry
    )
    text = "Webhooks that were stored but not applied."
    unapplied = Gauge(
        "countersign_webhooks_to_look_at",
        text,
        ["connection", "result"],
        registry=registry,
    )
    stored = (
        WebhookEvent.objects.to_look_at()
        .values_list("connection__slug", "result")
        .annotate(number=Count("pk"))
    )
    counted = {(slug, result): number for slug, result, number in stored.order_by()}
    for slug, complete_as_of in (
        Connection.objects.at_work()
        .values_list("slug", "complete_as_of")
        .order_by("slug")
    ):
        ages.labels(slug).set(
            _seconds(now - complete_as_of) if complete_as_of else NEVER
        )
        for result in (
            WebhookEvent.Result.POISON,
            WebhookEvent.Result.LATE,
            WebhookEvent.Result.REFUTED,
        ):
            unapplied.labels(slug, result).set(counted.get((slug, result), 0))
    ticks = Gauge(
        "countersign_last_tick_age_seconds",
        "Since a background job last ran.",
        ["job"],
        registry=registry,
    )
    for job, at in (
        Tick.objects.values_list("job").annotate(last=Max("at")).order_by("job")
    ):
        ticks.labels(job).set(_seconds(now - at))
    return generate_latest(registry).decode()


def _age(
    rows: QuerySet[Message] | QuerySet[Decision], column: str, now: datetime
) -> float:
    oldest = rows.aggregate(oldest=Min(column))["oldest"]
    return _seconds(now - oldest) if oldest else 0


def _seconds(age: timedelta) -> float:
    return round(max(0.0, age.total_seconds()), 1)
