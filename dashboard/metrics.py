"""What Prometheus is told: how much waits, leaves and is in doubt, how old it is, and how well everything is read."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, QuerySet

from approvals.intake import unsigned
from approvals.models import Decision
from approvals.querysets.messages import desk_messages
from audit.models import Check
from audit.sealing.state import sealing_state
from common.postgres import clock
from dashboard.models import Tick
from mirror.models import Connection, Message, WebhookEvent
from mirror.states import DecisionState
from policy.models import KillSwitch

# Prometheus compares it like a number: what was never read is older than any limit.
NEVER = "+Inf"


def exposition() -> str:
    """Return all figures as Prometheus reads them; ages go by the database's clock."""
    now = clock()
    lines: list[str] = []
    for name, what, samples in _families(now):
        lines += [f"# HELP countersign_{name} {what}", f"# TYPE countersign_{name} gauge"]
        lines += [f"countersign_{name}{labels} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


Samples = list[tuple[str, object]]


def _families(now: datetime) -> Iterator[tuple[str, str, Samples]]:
    waiting, decisions = desk_messages().awaiting_review(), Decision.objects.all()
    yield "messages_waiting", "Messages that wait for a decision.", _one(waiting.count())
    yield "oldest_waiting_seconds", "Age of the oldest of them.", _age(waiting, "held_at", now)
    recorded = decisions.filter(state=DecisionState.RECORDED)
    yield "decisions_recorded", "Decisions that are not carried out yet.", _one(recorded.count())
    due = recorded.filter(due_at__lte=now)
    yield "decisions_due", "Those whose time has come, whatever keeps them.", _one(due.count())
    yield "oldest_due_seconds", "For how long the oldest of those is due.", _age(due, "due_at", now)
    in_doubt = decisions.in_doubt()
    yield "decisions_in_doubt", "Decisions whose outcome is not known.", _one(in_doubt.count())
    yield "oldest_in_doubt_seconds", "Age of the oldest doubt.", _age(in_doubt, "changed_at", now)
    yield "kill_switches_pulled", "Kill switches that stop something.", _one(KillSwitch.objects.pulled().count())
    yield from _of_connections(now)
    forged = unsigned.total()
    yield "webhooks_unsigned", "Webhooks without a valid signature, ever.", [] if forged is None else _one(forged)
    yield from _of_the_ledger(now)
    ticks = Tick.objects.values_list("job").annotate(last=Max("at")).order_by("job")
    yield (
        "last_tick_age_seconds",
        "Since a background job last ran.",
        [_labelled("job", job, now - at) for job, at in ticks],
    )


def _of_the_ledger(now: datetime) -> Iterator[tuple[str, str, Samples]]:
    state = sealing_state(now)
    last = _seconds(now - state.last.at) if state.last else NEVER
    yield "ledger_unsealed", "Entries of the ledger that no seal covers, up to 10,001.", _one(state.unsealed)
    yield "ledger_oldest_unsealed_seconds", "Age of the oldest of them.", [("", _seconds(state.age))]
    yield "ledger_seal_age_seconds", "Since the ledger was last sealed.", [("", last)]
    yield "ledger_stopped", "Whether the sealer found that it must not go on.", _one(int(state.is_stopped))
    check = Check.objects.standing().first()
    checked = _seconds(now - check.ended_at) if check and check.ended_at else NEVER
    broken = int(check is not None and check.state == Check.State.BROKEN)
    yield "ledger_check_age_seconds", "Since a look through the whole ledger came to an end.", [("", checked)]
    yield "ledger_broken", "Whether the last of them found what does not hold.", _one(broken)


def _of_connections(now: datetime) -> Iterator[tuple[str, str, Samples]]:
    connections = list(Connection.objects.at_work().order_by("slug"))
    failing = sum(connection.failing_since is not None for connection in connections)
    yield "connections_failing", "Connections that cannot be read.", _one(failing)
    paused = sum(connection.paused_at is not None for connection in connections)
    yield "connections_paused", "Connections through which nothing is decided.", _one(paused)
    ages = [_labelled("connection", c.slug, now - c.complete_as_of if c.complete_as_of else None) for c in connections]
    yield "complete_age_seconds", "Since all that MultiMail holds was last read whole.", ages
    kept = WebhookEvent.objects.to_look_at().values_list("connection__slug", "result").annotate(number=Count("pk"))
    counted = {(slug, result): number for slug, result, number in kept.order_by()}
    yield (
        "webhooks_to_look_at",
        "Webhooks that were kept and not applied.",
        [
            (f'{{connection="{c.slug}",result="{result}"}}', counted.get((c.slug, result), 0))
            for c in connections
            for result in (WebhookEvent.Result.POISON, WebhookEvent.Result.LATE)
        ],
    )


def _one(value: int) -> Samples:
    return [("", value)]


def _age(rows: QuerySet[Message] | QuerySet[Decision], column: str, now: datetime) -> Samples:
    oldest = rows.aggregate(oldest=Min(column))["oldest"]
    return [("", _seconds(now - oldest) if oldest else 0)]


def _labelled(label: str, value: str, age: timedelta | None) -> tuple[str, object]:
    return f'{{{label}="{value}"}}', NEVER if age is None else _seconds(age)


def _seconds(age: timedelta) -> float:
    return round(max(0.0, age.total_seconds()), 1)
