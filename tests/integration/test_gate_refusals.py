"""Refusals at the gate: read once each, shown in the visible scope, and allowed with
one click by admins.
"""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from audit.models import Entry
from mirror.models import Connection, WebhookEvent
from policy import tasks
from policy.allowlists.gates import read_refusals
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


def make_refusal(connection, *refused, **fields):
    values = {
        "mailbox": connection.mailboxes.order_by("pk").first(),
        "upstream_id": f"r{GateRefusal.objects.count()}",
        "recipients": list(refused),
        "refused": list(refused),
        "rule": "restriction, mode enforce, version 7",
        "refused_at": timezone.now(),
        **fields,
    }
    return GateRefusal.objects.create(connection=connection, **values)


def test_refusal_at_the_gate_is_stored_once_with_one_ledger_entry(gateway, upstream):
    serve_refusals(upstream, refusal_row(2, "b@x.example"), refusal_row(1, DANA))
    assert read_refusals(connection_id=gateway.pk) == "2 read"
    assert read_refusals(connection_id=gateway.pk) == "0 read"
    first, second = GateRefusal.objects.order_by("pk")
    assert first.refused == [DANA]
    assert first.recipients == ["lee@y.example", DANA]
    assert second.mailbox == gateway.mailboxes.get()
    entries = Entry.objects.filter(action="message.refused_at_gate").order_by("pk")
    told = [one.detail.fields["refused"] for one in entries]
    assert told == [DANA, "b@x.example"]
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


@pytest.mark.slow
def test_all_pages_are_read_up_to_the_first_known_refusal(gateway, upstream):
    serve_refusals(upstream, refusal_row(1, DANA))
    read_refusals(connection_id=gateway.pk)
    following = iter([([2], "p3"), ([1], "p4"), ([0], None)])

    def turn_the_page():
        numbers, cursor = next(following)
        serve_refusals(
            upstream, *(refusal_row(number, DANA) for number in numbers), cursor=cursor
        )

    serve_refusals(upstream, refusal_row(3, DANA), cursor="p2")
    upstream.meanwhile["GET"] = turn_the_page
    assert read_refusals(connection_id=gateway.pk) == "2 read"
    assert [path.partition("cursor=")[2] for path in upstream.paths[1:]] == [
        "",
        "p2",
        "p3",
    ]
    assert GateRefusal.objects.count() == 3


def test_unreadable_list_of_refusals_changes_nothing(gateway, upstream):
    for status, body in (
        (500, {}),
        (403, {"error": "scope"}),
        (200, {"refusals": "x"}),
    ):
        upstream.answers[PATH] = (status, body)
        with rolled_back():
            assert read_refusals(connection_id=gateway.pk) == "not now", (status, body)
            assert GateRefusal.objects.count() == 0
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


def test_page_shows_sender_recipient_and_rule_in_the_visible_scope(
    signed_in, admin, gateway
):
    make_refusal(
        *(gateway, "a+b@x.example"),
        recipients=["a+b@x.example", "lee@y.example"],
        trigger={"discord_user": "<b>ana</b>"},
        sent_by_key="01KEY",
        sent_by_key_name="Support bot",
    )
    page = signed_in(admin).get("/allowlists/refusals/")
    assert "01KEY" not in text_of(page)
    for words in ("key Support bot", "also to lee@y.example", "<b>ana</b>"):
        assert words in text_of(page), words
    assert "Allow for 7 days" not in page.text
    stranger = make_person(
        "s@yourteam.example", "S", "admin", connection=make_connection("other")
    )
    assert "a+b@x.example" not in text_of(
        signed_in(stranger).get("/allowlists/refusals/")
    )


def test_refused_address_is_put_on_a_list_of_the_rule_for_a_week(
    signed_in, admin, gateway
):
    one = make_refusal(gateway, DANA, "eve%evil.example@x.example")
    named = make_list("y.example", connection=gateway)
    make_list(name="Unnamed")
    reject_others(named, mailboxes=[one.mailbox_id], only_these=True)
    client = signed_in(admin)
    page = client.get("/allowlists/refusals/").text
    # Only for an address that an entry can allow, and only on that list.
    lines = re.findall(r'name="lines"\s+value="([^"]*)"', page)
    assert [one.partition(",")[0] for one in lines] == [DANA]
    [path] = set(re.findall(r'formaction="([^"]*)"', page))
    assert path == f"{named.url}change/"
    shown = client.post(path, {"lines": lines[0]})
    assert "1 added" in text_of(shown)
    assert save(client, shown)["Location"] == named.url
    entry = AllowEntry.objects.get(pattern=DANA)
    assert entry.expires_at <= timezone.now() + timedelta(days=7)
    assert entry.allowlist == named
