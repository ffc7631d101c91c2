"""What a restriction kept out: stored without a word of the message, told to who asked, and listed."""

import json
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from gateway.admission import admit
from gateway.letters import Letter
from gateway.models import Allowlist, ApiKey, Email, IdempotencyRecord, Refusal, WebhookDelivery
from tests.integration.gateway.test_gateway_races import at_once
from tests.integration.gateway.world import World, add_key, make_world

EVE = "eve@evil.example"


@pytest.fixture
def strict(world: World) -> World:
    restrict(world)
    return world


def restrict(world: World) -> None:
    body = {"kind": "restriction", "mode": "enforce", "entries": ["northwind.example"]}
    assert world.call("PUT", f"{world.base}/allowlist", key="admin", json=body).status_code == 200


def refused(world: World, **fields: Any) -> str:
    answer = world.send(**{"bcc": [EVE], **fields})
    assert answer.status_code == 403, answer.content
    return str(answer.json()["refusal_id"])


def listed(world: World, key: str = "admin", query: str = "") -> Any:
    return world.call("GET", f"/v1/refusals?{query}", key=key).json()


def test_refusal_stores_who_and_why_and_no_word_of_the_message(strict: World):
    refusal_id = refused(strict, subject="Geheim", markdown="Sehr geheim", metadata={"discord_user": "ana"})
    row = Refusal.objects.values().get(pk=refusal_id)
    assert row["recipients"] == ["dana@northwind.example", EVE]
    assert row["refused"] == [EVE]
    assert (row["mailbox_id"], row["metadata"]) == (strict.mailbox.pk, {"discord_user": "ana"})
    assert row["key_id"] == ApiKey.objects.get(name="Key agent").pk
    assert row["rule"] == "restriction, mode enforce, version 1"
    assert "eheim" not in str(row)
    assert not Email.objects.exists()


def test_refusal_inside_of_another_transaction_is_an_error_of_ours(strict: World):
    key, letter = ApiKey.objects.get(name="Key agent"), Letter(to=[EVE], subject="x", markdown="y")
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        admit(key=key, mailbox=strict.mailbox, letter=letter, now=timezone.now())


@pytest.mark.parametrize("path", ["/send_email", "/v1/send_email"])
def test_refusal_in_the_flat_dialect_is_the_same(strict: World, path: str):
    body = {"from": strict.mailbox.address, "to": EVE, "subject": "x", "body": "y", "metadata": {"n": 1}}
    answer = strict.call("POST", path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "recipient_not_allowed")
    assert EVE in answer.json()["error"]
    assert Refusal.objects.get().metadata == {"n": 1}


def test_refusal_names_few_of_many_and_lists_all(strict: World):
    crowd = [f"eve{n}@evil.example" for n in range(50)]
    told = strict.send(bcc=crowd).json()
    assert "eve2@evil.example and 47 more" in told["error"]
    assert "eve3@" not in told["error"]
    assert told["recipients"] == crowd


def test_refusal_is_told_only_to_who_names_it(strict: World):
    quiet = strict.listen("oversight.pending", "message.failed")
    asked = strict.listen("message.refused")
    refusal_id = refused(strict, subject="Geheim", metadata={"discord_user": "ana"})
    delivery = WebhookDelivery.objects.get()
    event = json.loads(bytes(delivery.body))
    assert (delivery.webhook_id, delivery.email_id, delivery.event) == (asked.pk, None, "message.refused")
    assert not WebhookDelivery.objects.filter(webhook=quiet).exists()
    assert (event["event"], event["refusal_id"]) == ("message.refused", refusal_id)
    assert (event["mailbox"], event["mailbox_id"]) == (strict.mailbox.address, strict.mailbox.pk)
    assert event["refused_recipients"] == [EVE]
    assert event["metadata"] == event["data"]["metadata"] == {"discord_user": "ana"}
    assert "Geheim" not in str(event)
    # A receiver takes any of these for the id of a message, and there is none.
    assert not {"id", "email_id", "message_id"} & (event.keys() | event["data"].keys())


def test_refusal_reaches_no_subscriber_of_another_mailbox_or_tenant(strict: World, other: World):
    other.listen("message.refused")
    hook = strict.listen("message.refused")
    hook.mailbox = other.mailbox
    hook.save()
    refused(strict)
    assert not WebhookDelivery.objects.exists()


def test_refusal_leaves_the_idempotency_key_free(strict: World):
    refused(strict, idempotency_key="k", subject="Same")
    assert not IdempotencyRecord.objects.exists()
    answer = strict.send(idempotency_key="k", subject="Same")
    assert answer.status_code == 202
    assert "idempotent" not in answer.json()


def test_repeat_of_an_accepted_key_gets_its_message_also_when_the_list_has_changed(strict: World):
    first = strict.send(idempotency_key="k").json()
    Allowlist.objects.all().delete()
    body = {"kind": "restriction", "mode": "enforce", "entries": []}
    strict.call("PUT", f"{strict.base}/allowlist", key="admin", json=body)
    again = strict.send(idempotency_key="k")
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert not Refusal.objects.exists()


def test_list_is_newest_first_and_walks_all_by_cursor(strict: World):
    ids = [refused(strict) for _ in range(5)]
    first = listed(strict, query="limit=2")
    second = listed(strict, query=f"limit=2&cursor={first['cursor']}")
    third = listed(strict, query=f"limit=2&cursor={second['cursor']}")
    walked = [row["id"] for page in (first, second, third) for row in page["refusals"]]
    assert walked == ids[::-1]
    assert third["cursor"] is None
    row = first["refusals"][0]
    assert (row["refused_recipients"], row["mailbox"]) == ([EVE], strict.mailbox.address)
    assert row["created_at"].endswith("Z")


def test_list_is_for_admin_and_oversight_keys_and_hides_other_tenants(strict: World, other: World):
    refused(strict)
    for key in ("admin", "desk", "watcher"):
        assert len(listed(strict, key)["refusals"]) == 1
        assert listed(other, key)["refusals"] == []
    for key in ("agent", "reader"):
        assert strict.call("GET", "/v1/refusals", key=key).status_code == 403


def test_list_keeps_sandbox_and_live_apart_and_keys_to_their_mailboxes(strict: World):
    add_key(strict, "tester", ["send"], prefix="mm_test_")
    add_key(strict, "test admin", ["admin"], prefix="mm_test_")
    add_key(strict, "limited", ["admin"])
    ApiKey.objects.filter(name="Key limited").update(mailbox_ids=["elsewhere"])
    live = refused(strict)
    test = strict.send(key="tester", to=[EVE]).json()["refusal_id"]
    assert [row["id"] for row in listed(strict)["refusals"]] == [live]
    assert [row["id"] for row in listed(strict, "test admin")["refusals"]] == [test]
    assert listed(strict, "limited")["refusals"] == []


@pytest.mark.parametrize("cursor", ["%25", "a-b", "x" * 41])
def test_list_bad_cursor_is_422(strict: World, cursor: str):
    answer = strict.call("GET", f"/v1/refusals?cursor={cursor}", key="admin")
    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


@pytest.mark.django_db(transaction=True)
def test_two_changes_of_one_version_at_once_have_one_winner(transactional_db: None):
    world = make_world()

    def put(version: int, pattern: str) -> Any:
        body = {"kind": "restriction", "mode": "enforce", "version": version, "entries": [pattern]}
        return world.call("PUT", f"{world.base}/allowlist", key="admin", json=body)

    for version in range(3):
        answers = at_once(lambda: put(version, "a.example"), lambda: put(version, "b.example"))  # noqa: B023
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won, lost = sorted(answers, key=lambda answer: answer.status_code)
        assert lost.json()["version"] == won.json()["version"] == version + 1
        told = world.call("GET", f"{world.base}/allowlist?kind=restriction", key="admin").json()
        assert told["entries"] == won.json()["entries"]
