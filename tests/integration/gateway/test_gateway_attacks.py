"""Attacks on the gateway that once succeeded, at least in part, and must not any more."""

import time

import pytest
from django.test import Client
from django.utils import timezone

from gateway import domains, request_rules
from gateway.models import ApiKey, Mailbox, Suppression
from gateway.models.accounts import hash_key
from gateway.states import Mode, Status
from tests.integration.gateway.world import (
    add_key,
    add_mailbox,
    add_sandbox_keys,
    leave,
    make_world,
    refusal_of,
    status_of,
    undone,
)


@pytest.fixture
def sandbox(world):
    """An account with sandbox keys."""
    add_sandbox_keys(world)
    return world


def awaits_code(answer):
    """Whether a change waits for an operator's code."""
    return refusal_of(answer) == (202, "pending_approval")


@pytest.mark.slow
def test_subject_built_to_slow_down_parsing_is_parsed_quickly(world):
    began = time.thread_time()
    assert world.send(subject="=?a" * 300).status_code == 202
    # Processor time: an exponential algorithm would never finish.
    assert time.thread_time() - began < 20


def test_sending_key_creates_no_more_powerful_key(world):
    add_key(world, "mighty", ["admin", "send"])

    def make(*scopes):
        return world.post("/v1/api-keys", key="mighty", name="Friend", scopes=scopes)

    for scopes in (("oversight",), ("admin",), ("read", "admin")):
        assert awaits_code(make(*scopes)), scopes
    assert not ApiKey.objects.filter(name="Friend").exists()
    assert make("read", "send").status_code == 201
    for changed, scopes in (
        ("mighty", ["admin"]),
        ("reader", ["admin"]),
        ("reader", ["oversight"]),
    ):
        path = f"/v1/api-keys/{world.key_id(changed)}"
        assert awaits_code(world.patch(path, key="mighty", scopes=scopes))
        assert ApiKey.objects.get(pk=world.key_id(changed)).scopes != scopes


def test_mail_accepted_before_its_mailbox_was_tightened_is_held(db, mail_server):
    world = make_world(mode=Mode.AUTONOMOUS)
    email_id = world.held()
    for mode in (Mode.GATED_SEND, Mode.GATED_ALL, Mode.READ_ONLY):
        with undone():
            assert world.patch(world.base, oversight_mode=mode).status_code == 200
            assert leave(email_id) == "asked", mode
            assert status_of(email_id) == Status.PENDING_SEND_APPROVAL, mode
    assert mail_server.mails == 0


def test_mail_loosened_by_a_call_is_held_once_calls_may_not_loosen(world, mail_server):
    Mailbox.objects.update(allow_looser_per_call=True)
    asked = world.held(oversight_mode="autonomous")
    sent = world.held(oversight_mode="monitored")
    assert leave(sent) == "sent"
    Mailbox.objects.update(allow_looser_per_call=False)
    assert leave(asked) == "asked"
    assert mail_server.mails == 1


def test_sandbox_key_does_not_loosen_rules_for_live_mail(sandbox):
    bypass = {
        "kind": "bypass",
        "mode": "enforce",
        "version": 0,
        "entries": ["evil.example"],
    }
    assert awaits_code(
        sandbox.put(f"{sandbox.base}/allowlist", key="test admin", **bypass)
    )
    for change in (
        {"allow_looser_per_call": True},
        {"auto_cc": "eve@evil.example"},
        {"auto_bcc": "eve@evil.example"},
    ):
        assert awaits_code(sandbox.patch(sandbox.base, key="test admin", **change)), (
            change
        )
    answer = sandbox.delete(sandbox.base, key="test admin")
    assert refusal_of(answer) == (403, "sandbox_key")
    sandbox.mailbox.refresh_from_db()
    assert sandbox.mailbox.is_active is True
    assert sandbox.mailbox.auto_cc == ""
    assert sandbox.mailbox.auto_bcc == ""
    assert sandbox.send().json()["oversight_status"] == "pending_approval"


def test_sandbox_key_sees_nothing_of_live_keys(sandbox):
    sandbox.decide(sandbox.held(), "reject", reason="Ana is on leave")
    Suppression.objects.create(
        account=sandbox.account,
        email_address="gone@x.example",
        reason="bounce",
    )
    for path, rows in (
        ("/v1/audit-log", "entries"),
        ("/v1/suppression", "suppressions"),
    ):
        assert sandbox.get(path, key="test admin")[rows] == []
    assert (
        sandbox.delete("/v1/suppression/gone@x.example", key="test admin").status_code
        == 404
    )
    sandbox.post(f"{sandbox.base}/request-upgrade", target_mode="autonomous")
    (shown,) = sandbox.get("/v1/upgrade-requests", key="test admin")["requests"]
    assert shown["code"] is None


def test_sandbox_key_gets_events_of_sandbox_mail_only(sandbox):
    sandbox.listen("oversight.pending")
    hook = {"url": "https://hooks.example.org/x", "events": ["oversight.pending"]}
    made = sandbox.post("/v1/webhooks", key="test admin", **hook).json()
    live = sandbox.held()
    tried = sandbox.held(key="tester")
    heard = {
        key: {
            row["email_id"]
            for row in sandbox.get("/v1/webhook-deliveries", key=key)["deliveries"]
        }
        for key in ("test admin", "admin")
    }
    assert heard == {"test admin": {tried}, "admin": {live, tried}}
    seen = sandbox.get("/v1/webhooks", key="test admin")["webhooks"]
    assert [one["id"] for one in seen] == [made["id"]]


def test_link_to_a_file_expires_when_its_key_may_no_longer_read_it(world):
    add_mailbox(world, "second")
    email_id = world.held(
        attachments=[
            {"name": "a.txt", "content_type": "text/plain", "content_base64": "YQ=="}
        ]
    )
    path = f"{world.base}/emails/{email_id}/attachments/a.txt/url"
    url = world.get(path, key="reader")["url"]
    assert world.call("GET", url, key=None).status_code == 200
    for change in ({"scopes": ["send"]}, {"mailboxes": ["second@acme.example"]}):
        with undone():
            world.patch(f"/v1/api-keys/{world.key_id('reader')}", **change)
            answer = world.call("GET", url, key=None)
            assert refusal_of(answer) == (403, "link_ended"), change


def test_webhook_moved_to_a_mailbox_drops_older_events_of_other_mailboxes(world):
    second = add_mailbox(world, "second")
    add_key(world, "one", ["admin"], mailbox_ids=[second.pk])
    hook = world.listen("oversight.pending")
    world.held()
    (old,) = world.get("/v1/webhook-deliveries", key="admin")["deliveries"]
    world.patch(f"/v1/webhooks/{hook.pk}", mailbox_id=second.pk)
    assert world.get("/v1/webhook-deliveries", key="one")["deliveries"] == []
    assert (
        world.post(f"/v1/webhook-deliveries/{old['id']}/replay", key="one").status_code
        == 404
    )


def headers(key="", path="/send_email"):
    """A request whose body has not been read yet."""
    return {"PATH_INFO": path} | (
        {"HTTP_AUTHORIZATION": f"Bearer {key}"} if key else {}
    )


def test_body_is_read_only_with_a_key_and_a_large_one_only_with_a_valid_key(
    world, monkeypatch
):
    # Connections are closed between requests, but the test's transaction needs its own.
    monkeypatch.setattr(request_rules, "close_old_connections", lambda: None)
    most = 30 * 1024 * 1024
    own = world.keys["agent"]
    assert [request_rules.most_body(headers(key)) for key in ("", "nobody", own)] == [
        0,
        most,
        most,
    ]
    assert (
        request_rules.most_body({"PATH_INFO": "/send_email", "HTTP_X_API_KEY": own})
        == most
    )
    assert [
        request_rules.most_of_sender(headers(key)) for key in ("", "nobody", own)
    ] == [0, 0, most]
    # One click in a mail program has a small body and no key.
    one_click = headers(path="/v1/unsubscribe/x:y")
    assert request_rules.most_body(one_click) == most
    assert request_rules.most_of_sender(one_click) == 0
    ApiKey.objects.filter(sha256=hash_key(own)).update(revoked_at=timezone.now())
    assert request_rules.most_of_sender(headers(own)) == 0


def test_body_without_a_key_is_read_on_public_paths():
    paths = Client().get("/openapi.json").json()["paths"]
    without_key = {
        path
        for path, operations in paths.items()
        for method in operations.keys() & {"post", "put", "patch", "delete"}
        if not operations[method].get("security")
    }
    assert without_key == {"/v1/account"} & set(request_rules.OPEN)


@pytest.mark.slow
def test_slow_dns_lookups_hold_one_thread_only(world):
    made = world.post("/v1/domains", key="admin", domain="slow.example").json()
    # Waiting for the other look-up here would never end.
    with domains.asking:
        body = world.post(f"/v1/domains/{made['id']}/verify", key="admin").json()
    assert body["status"] == "pending"
    assert "is being looked up" in body["message"]
