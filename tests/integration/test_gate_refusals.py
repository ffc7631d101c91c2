"""Refusals at the gate: each is read and recorded once."""

import json
from datetime import UTC, datetime

import pytest
from django.utils import timezone

from audit.models import Entry
from mirror.models import Connection, WebhookEvent
from policy import tasks
from policy.gates import read_refusals
from tests.factories import (
    MAILBOX,
    change_row,
    make_connection,
    post_event,
    rolled_back,
)

PATH = "/v1/refusals"
DANA = "dana@x.example"


@pytest.fixture
def gateway(connection, upstream):
    change_row(connection, api_url=upstream.url)
    connection.refresh_from_db()
    return connection


def refusal_row(number, *refused, **fields):
    return {
        "id": f"01REFUSAL{number:06}",
        "mailbox": MAILBOX["address"],
        "mailbox_id": MAILBOX["upstream_id"],
        "key_id": "01KEY",
        "key_name": "Support bot",
        "recipients": ["lee@y.example", *refused],
        "refused_recipients": list(refused),
        "rule": "restriction, mode enforce, version 7",
        "metadata": {"discord_user": "ana#1"},
        "sandbox": False,
        "created_at": datetime.now(UTC).isoformat(),
        **fields,
    }


def serve_refusals(upstream, *rows, cursor=None, status=200):
    upstream.answers[PATH] = (status, {"refusals": list(rows), "cursor": cursor})


def refusals():
    entries = Entry.objects.filter(action="message.refused_at_gate")
    return [one.detail.fields for one in entries.order_by("pk")]


def test_refusal_at_the_gate_is_recorded_once(gateway, upstream):
    serve_refusals(upstream, refusal_row(2, "b@x.example"), refusal_row(1, DANA))
    assert read_refusals(connection_id=gateway.pk) == "2 read"
    assert read_refusals(connection_id=gateway.pk) == "0 read"
    first, second = refusals()
    assert first["recipients"] == f"lee@y.example, {DANA}"
    assert [first["refused"], second["refused"]] == [DANA, "b@x.example"]
    assert second["mailbox"] == MAILBOX["address"]
    assert upstream.keys == ["mm_live_oversight"] * 2
    # Malformed rows are stored as far as they are readable.
    odd = {
        "id": 7,
        "refused_recipients": "x",
        "recipients": None,
        "metadata": [1],
        "created_at": "soon",
    }
    serve_refusals(upstream, odd, {"no": "id"}, "nonsense")
    assert read_refusals(connection_id=gateway.pk) == "1 read"


def test_unreadable_list_of_refusals_changes_nothing(gateway, upstream):
    for status, body in (
        (500, {}),
        (403, {"error": "scope"}),
        (200, {"refusals": "x"}),
    ):
        upstream.answers[PATH] = (status, body)
        with rolled_back():
            assert read_refusals(connection_id=gateway.pk) == "not now", (status, body)
            assert refusals() == []
            assert Connection.objects.get().paused_at is None
    # Hosted MultiMail is not asked.
    asked = len(upstream.calls)
    Connection.objects.update(is_our_gateway=False)
    assert read_refusals(connection_id=gateway.pk) == "cannot be asked"
    assert len(upstream.calls) == asked


def test_webhook_triggers_a_read_of_refusals_and_the_periodic_task_reads_healthy_gateways(
    client, gateway, sent_tasks
):
    inner = {"refusal_id": "01R", "mailbox": "x", "refused_recipients": [DANA]}
    body = json.dumps(
        {"event": "message.refused", "event_id": "e1", "data": inner}
    ).encode()
    assert post_event(client, gateway, body).status_code == 200
    assert sent_tasks == [("policy.tasks.read_refusals", gateway.pk)]
    assert WebhookEvent.objects.get().result == "applied"
    make_connection("hosted", is_our_gateway=False)
    make_connection("paused", paused_at=timezone.now())
    tasks.read_all_refusals()
    assert sent_tasks == [("policy.tasks.read_refusals", gateway.pk)] * 2
