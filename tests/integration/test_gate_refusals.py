"""Refusals at the gate: read once each, shown in the visible scope, and allowed with
one click by admins.
"""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from policy.allowlists.gates import read_refusals

from audit.models import Entry
from mirror.models import Connection, WebhookEvent
from policy import tasks
from policy.models import AllowEntry, GateRefusal
from tests.factories import (
    MAILBOX,
    change_row,
    make_connection,
    make_list,
    make_person,
    post_event,
    reject_others,
    rolled_back,
)
from tests.integration.test_allowlist_pages import save
from tests.markup import text_of

PATH = "/v1/refusals"
DANA = "dana@x.example"


@pytest.fixture
def gateway(connection, upstream):
    change_row(connection, api_url=upstream.url)
    connection.refresh_from_db()
    return connection


def serve(upstream, *rows, cursor=None, status=200):
    """Let the gateway list refusals: numbers of whole rows, or rows as they are."""
    listed = [
        {
            "id": f"01REFUSAL{row:06}",
            "mailbox_id": MAILBOX["upstream_id"],
            "recipients": ["lee@y.example", DANA],
            "refused_recipients": [DANA],
            "rule": "restriction, mode enforce, version 7",
            "created_at": datetime.now(UTC).isoformat(),
        }
        if isinstance(row, int)
        else row
        for row in rows
    ]
    upstream.answers[PATH] = (status, {"refusals": listed, "cursor": cursor})


def read(connection):
    return read_refusals(connection_id=connection.pk)


def test_refusal_at_the_gate_is_stored_once_with_one_ledger_entry(gateway, upstream):
    serve(upstream, 2, 1)
    assert [read(gateway), read(gateway)] == ["2 read", "0 read"]
    first = GateRefusal.objects.earliest("pk")
    assert (first.refused, first.upstream_id) == ([DANA], "01REFUSAL000001")
    assert first.mailbox == gateway.mailboxes.get()
    assert Entry.objects.filter(action="message.refused_at_gate").count() == 2
    # Malformed rows are stored as far as they are readable.
    odd = {"id": 7, "refused_recipients": "x", "metadata": [1], "created_at": "soon"}
    serve(upstream, odd, {"no": "id"}, "nonsense")
    assert read(gateway) == "1 read"
    # All pages are read, up to the first known refusal.
    pages = iter([([4], "p3"), ([2], "p4"), ([0], None)])

    def turn_the_page():
        rows, cursor = next(pages)
        serve(upstream, *rows, cursor=cursor)

    serve(upstream, 5, cursor="p2")
    upstream.meanwhile["GET"] = turn_the_page
    assert read(gateway) == "2 read"
    assert [one.partition("cursor=")[2] for one in upstream.paths[-3:]] == ["", "p2", "p3"]  # fmt: skip


def test_unreadable_list_of_refusals_changes_nothing(gateway, upstream):
    for status, body in ((500, {}), (403, {"error": "scope"}), (200, {"refusals": 1})):
        upstream.answers[PATH] = (status, body)
        with rolled_back():
            assert read(gateway) == "not now", (status, body)
            assert GateRefusal.objects.count() == 0
            assert Connection.objects.get().paused_at is None
    # Hosted MultiMail is not asked.
    asked = len(upstream.calls)
    Connection.objects.update(is_our_gateway=False)
    assert read(gateway) == "cannot be asked"
    assert len(upstream.calls) == asked


def test_webhook_and_the_periodic_task_read_refusals_of_healthy_gateways(
    client, gateway, sent_tasks
):
    inner = {"refusal_id": "01R", "mailbox": "x", "refused_recipients": [DANA]}
    body = {"event": "message.refused", "event_id": "e1", "data": inner}
    assert post_event(client, gateway, json.dumps(body).encode()).status_code == 200
    assert WebhookEvent.objects.get().result == "applied"
    make_connection("hosted", is_our_gateway=False)
    make_connection("paused", paused_at=timezone.now())
    tasks.read_all_refusals()
    assert sent_tasks == [("policy.tasks.read_refusals", gateway.pk)] * 2


def test_refused_address_is_put_on_a_list_of_the_rule_by_its_admins(
    client, signed_in, admin, gateway
):
    mailbox = gateway.mailboxes.get()
    GateRefusal.objects.create(
        connection=gateway,
        mailbox=mailbox,
        recipients=[DANA],
        refused=[DANA, "eve%evil.example@x.example"],
        trigger={"discord_user": "<b>ana</b>"},
        refused_at=timezone.now(),
    )
    named = make_list("y.example", connection=gateway)
    make_list(name="Unnamed")
    reject_others(named, mailboxes=[mailbox.pk], only_these=True)
    address = "/allowlists/refusals/"
    other = make_connection("other")
    for scope, is_shown in ((other, False), (gateway, True)):
        person = make_person(
            f"{scope.slug}@x.example", "S", "auditor", connection=scope
        )
        shown = signed_in(person).get(address)
        assert ("<b>ana</b>" in text_of(shown)) is is_shown
        assert "formaction" not in shown.text
    signed_in(admin)
    page = client.get(address).text
    # Only for an address that an entry can allow, and only on that list.
    lines = re.findall(r'name="lines"\s+value="([^"]*)"', page)
    assert [one.partition(",")[0] for one in lines] == [DANA]
    [path] = set(re.findall(r'formaction="([^"]*)"', page))
    assert path == f"{named.url}change/"
    save(client, client.post(path, {"lines": lines[0]}))
    entry = AllowEntry.objects.get(pattern=DANA, allowlist=named)
    assert entry.expires_at <= timezone.now() + timedelta(days=7)
