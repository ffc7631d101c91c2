"""Refusals by a restriction: stored without content, sent to subscribers, and listed."""

import json

import pytest
from django.db import transaction

from gateway.messages.admission import admit
from gateway.models import ApiKey, Email, IdempotencyRecord, Refusal, WebhookDelivery
from tests.integration.gateway.world import (
    add_key,
    add_sandbox_keys,
    bad_field_of,
)

EVE = "eve@evil.example"


@pytest.fixture
def strict(world):
    assert world.allow("northwind.example").status_code == 200
    return world


def refused(world, **fields):
    answer = world.send(**{"bcc": [EVE], **fields})
    assert answer.status_code == 403, answer.content
    return str(answer.json()["refusal_id"])


def listed(world, key="admin"):
    return [row["id"] for row in world.get("/v1/refusals", key=key)["refusals"]]


def test_refusal_stores_who_and_why_and_no_content(strict):
    refusal_id = refused(
        strict,
        subject="Geheim",
        markdown="Sehr geheim",
        metadata={"discord_user": "ana"},
    )
    row = Refusal.objects.values().get(pk=refusal_id)
    assert row["recipients"] == ["dana@northwind.example", EVE]
    assert row["refused"] == [EVE]
    assert row["mailbox_id"] == strict.mailbox.pk
    assert row["metadata"] == {"discord_user": "ana"}
    assert row["key_id"] == strict.key_id("agent")
    assert row["rule"] == "restriction, mode enforce, version 1"
    assert "eheim" not in str(row)
    assert not Email.objects.exists()


def test_refusal_inside_another_transaction_is_a_programming_error(strict):
    key = ApiKey.objects.get(name="Key agent")
    email = Email(mailbox=strict.mailbox, to=[EVE])
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        admit(key, email, asked=None)


def test_refusal_names_three_of_many_and_lists_all(strict):
    crowd = [f"eve{n}@evil.example" for n in range(50)]
    body = strict.send(bcc=crowd).json()
    assert (
        "write to eve0@evil.example, eve1@evil.example, eve2@evil.example and 47 more: not on"
        in body["error"]
    )
    assert body["recipients"] == crowd
    assert "eve2@evil.example: not on" in strict.send(bcc=crowd[:3]).json()["error"]
    assert (
        "eve2@evil.example and 1 more: not on"
        in strict.send(bcc=crowd[:4]).json()["error"]
    )


def test_refusal_event_goes_only_to_webhooks_subscribed_to_it(strict, other):
    quiet = strict.listen("oversight.pending", "message.failed")
    asked = strict.listen("message.refused")
    other.listen("message.refused")
    elsewhere = strict.listen("message.refused")
    elsewhere.mailbox = other.mailbox
    elsewhere.save()
    refusal_id = refused(strict, subject="Geheim", metadata={"discord_user": "ana"})
    delivery = WebhookDelivery.objects.get()
    event = json.loads(bytes(delivery.body))
    assert delivery.webhook_id == asked.pk
    assert delivery.email_id is None
    assert delivery.event == "message.refused"
    assert not WebhookDelivery.objects.filter(webhook=quiet).exists()
    assert event["event"] == "message.refused"
    assert event["refusal_id"] == refusal_id
    assert event["mailbox"] == strict.mailbox.address
    assert event["mailbox_id"] == strict.mailbox.pk
    assert event["refused_recipients"] == [EVE]
    assert event["metadata"] == event["data"]["metadata"] == {"discord_user": "ana"}
    assert "Geheim" not in str(event)
    # Receivers read any of these as a message id, and there is no message.
    assert not {"id", "email_id", "message_id"} & (event.keys() | event["data"].keys())


def test_refusal_does_not_use_the_idempotency_key_and_a_used_key_returns_its_message(
    strict,
):
    refused(strict, idempotency_key="k", subject="Same")
    assert not IdempotencyRecord.objects.exists()
    first = strict.send(idempotency_key="k", subject="Same")
    assert first.status_code == 202
    assert "idempotent" not in first.json()
    strict.allow()
    again = strict.send(idempotency_key="k", subject="Same")
    assert again.status_code == 200
    assert again.json()["id"] == first.json()["id"]
    assert Refusal.objects.count() == 1


def test_list_is_newest_first_and_walks_all_by_cursor(strict):
    ids = [refused(strict) for _ in range(3)]
    rows = strict.walk("/v1/refusals", "refusals", key="admin")
    assert [row["id"] for row in rows] == ids[::-1]
    assert rows[0]["refused_recipients"] == [EVE]
    assert rows[0]["mailbox"] == strict.mailbox.address
    assert rows[0]["created_at"].endswith("Z")
    for cursor in ("%25", "a-b", "x" * 41):
        answer = strict.call("GET", f"/v1/refusals?cursor={cursor}", key="admin")
        assert bad_field_of(answer) == (422, "cursor"), cursor


def test_list_hides_other_tenants_the_other_kind_and_other_mailboxes(strict, other):
    add_sandbox_keys(strict)
    add_key(strict, "limited", ["admin"], mailbox_ids=["elsewhere"])
    live = refused(strict)
    tried = strict.send(key="tester", to=[EVE]).json()["refusal_id"]
    found = {
        key: listed(strict, key)
        for key in ("admin", "desk", "watcher", "test admin", "limited")
    }
    both = [tried, live]
    assert found == {
        "admin": [live],
        "desk": both,
        "watcher": both,
        "test admin": [tried],
        "limited": [],
    }
    assert listed(other) == []
