"""The metrics for Prometheus: counts and ages of waiting, sent and doubtful messages,
and the state of reading.

Each scrape reads them from the database into a new registry, so that any web process
can answer.
"""

import math
from collections.abc import Mapping
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
    for values in (_decisions(now), _connections(now), _ledger(now)):
        for (name, text), value in values.items():
            Gauge(f"countersign_{name}", text, registry=registry).set(value)
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


# By the name and the words of a figure.
Figures = Mapping[tuple[str, str], float]


def _decisions(now: datetime) -> Figures:
    waiting = desk_messages().awaiting_review()
    decisions = Decision.objects.all()
    recorded = decisions.filter(state=DecisionState.RECORDED)
    in_doubt = decisions.in_doubt()
    due = recorded.filter(due_at__lte=now)
    forged = unsigned.unsigned_total()
    return {
        ("messages_waiting", "Messages waiting for a decision."): waiting.count(),
        ("oldest_waiting_seconds", "Age of the oldest of them."): _age(
            waiting, "held_at", now
        ),
        (
            "decisions_recorded",
            "Decisions that are not carried out yet.",
        ): recorded.count(),
        ("decisions_due", "Decisions that are due, whatever blocks them."): due.count(),
        ("oldest_due_seconds", "How long the oldest of them has been due."): _age(
            due, "due_at", now
        ),
        (
            "decisions_in_doubt",
            "Decisions whose outcome is not known.",
        ): in_doubt.count(),
        ("oldest_in_doubt_seconds", "Age of the oldest of them."): _age(
            in_doubt, "changed_at", now
        ),
        (
            "kill_switches_pulled",
            "Kill switches that stop something.",
        ): KillSwitch.objects.pulled().count(),
        **(
            {}
            if forged is None
            else {
                (
                    "webhooks_unsigned",
                    "Webhooks without a valid signature, ever.",
                ): forged
            }
        ),
    }


def _connections(now: datetime) -> Figures:
    active = Connection.objects.at_work()
    failing = active.filter(failing_since__isnull=False)
    paused = active.filter(paused_at__isnull=False)
    return {
        ("connections_failing", "Connections that cannot be read."): failing.count(),
        (
            "connections_paused",
            "Connections through which nothing is decided.",
        ): paused.count(),
    }


def _ledger(now: datetime) -> Figures:
    state = sealing_state(now)
    check = Check.objects.latest_finished().first()
    sealed = _seconds(now - state.last.at) if state.last else NEVER
    checked = _seconds(now - check.ended_at) if check and check.ended_at else NEVER
    broken = check is not None and check.state == Check.State.BROKEN
    return {
        (
            "ledger_unsealed",
            "Entries of the ledger that no seal covers, up to 10,001.",
        ): state.unsealed,
        ("ledger_oldest_unsealed_seconds", "Age of the oldest of them."): _seconds(
            state.age
        ),
        ("ledger_seal_age_seconds", "Since the ledger was last sealed."): sealed,
        (
            "ledger_stopped",
            "Whether the sealer has stopped because of an error.",
        ): state.is_stopped,
        (
            "ledger_check_age_seconds",
            "Since the last full check of the ledger.",
        ): checked,
        ("ledger_broken", "Whether the last full check failed."): broken,
    }


def _age(
    rows: QuerySet[Message] | QuerySet[Decision], column: str, now: datetime
) -> float:
    oldest = rows.aggregate(oldest=Min(column))["oldest"]
    return _seconds(now - oldest) if oldest else 0


def _seconds(age: timedelta) -> float:
    return round(max(0.0, age.total_seconds()), 1)
