"""`/readyz` answers 503 while work that is due and not blocked waits, and says which."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from approvals.models import Decision
from dashboard.models import Tick
from mirror.models import Connection
from policy.kill_switch import pull, release
from tests.factories import change_row, make_message

pytestmark = pytest.mark.usefixtures("working")
LONG_AGO = Now() - timedelta(minutes=2)


def ready(client):
    answer = client.get("/readyz")
    return answer.status_code, [
        name for name, is_well in answer.json()["parts"].items() if not is_well
    ]


def make_due(connection, person, **fields):
    message = make_message(connection)
    given = {
        "due_at": LONG_AGO,
        "reference": "R",
        "outcome": "approve",
        "given_by": person,
        **fields,
    }
    return Decision.objects.create(message=message, revision=message.revision, **given)


def test_decision_that_nobody_carries_out_makes_the_desk_unready(
    client, connection, admin, reviewer
):
    assert ready(client) == (200, [])
    decision = make_due(connection, reviewer)
    assert ready(client) == (503, ["work"])
    # What a person or MultiMail blocks is not the worker's fault.
    switch = pull(actor=admin.actor(surface="web"), reason="Stop")
    assert ready(client) == (200, [])
    release(switch_id=switch.pk, actor=admin.actor(surface="web"))
    unblocked = {"paused_at": None, "wait_until": None, "failing_since": None}
    for blocked in (
        {"paused_at": Now()},
        {"wait_until": Now() + timedelta(hours=1)},
        {"failing_since": LONG_AGO},
    ):
        Connection.objects.update(**unblocked | blocked)
        assert ready(client) == (200, []), blocked
    Connection.objects.update(**unblocked)
    assert ready(client) == (503, ["work"])
    change_row(decision, due_at=Now())
    assert ready(client) == (200, [])


def test_worker_without_ticks_and_a_parser_that_is_away_make_the_desk_unready(
    client, monkeypatch
):
    Tick.objects.filter(job="approvals.tasks.sweep").delete()
    assert ready(client) == (503, ["beat and worker"])
    monkeypatch.setenv("PARSER_SOCKET", "/nonexistent")
    assert ready(client) == (503, ["parser", "beat and worker"])
