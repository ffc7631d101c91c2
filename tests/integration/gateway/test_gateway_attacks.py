"""Attacks on the gateway that once succeeded, at least in part, and must not any more."""

import time

import pytest
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

    for scopes in (("oversight",), ("read", "admin")):
        assert awaits_code(make(*scopes)), scopes
    assert not ApiKey.objects.filter(name="Friend").exists()
    assert make("read", "send").status_code == 201
    for changed, scope in (
        ("mighty", "admin"),
        ("reader", "admin"),
        ("reader", "oversight"),
    ):
        path = f"/v1/api-keys/{world.key_id(changed)}"
        assert awaits_code(world.patch(path, key="mighty", scopes=[scope]))


def test_mail_accepted_before_its_mailbox_was_tightened_is_held(free, mail_server):
    email_id = free.held()
    for mode in (Mode.GATED_SEND, Mode.GATED_ALL, Mode.READ_ONLY):
        with undone():
            assert free.patch(free.base, oversight_mode=mode).status_code == 200
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
        asked = sandbox.patch(sandbox.base, key="test admin", **change)
        assert awaits_code(asked), change
    answer = sandbox.delete(sandbox.base, key="test admin")
    assert refusal_of(answer) == (403, "sandbox_key")
    before = sandbox.mailbox.auto_cc, sandbox.mailbox.auto_bcc
    sandbox.mailbox.refresh_from_db()
    assert (sandbox.mailbox.auto_cc, sandbox.mailbox.auto_bcc) == before
    assert sandbox.send().json()["oversight_status"] == "pending_approval"


def test_sandbox_key_sees_nothing_of_live_keys(sandbox):
    sandbox.decide(sandbox.held(), "reject", reason="Ana is on leave")
    address = "gone@x.example"
    Suppression.objects.create(
        account=sandbox.account, email_address=address, reason="bounce"
    )
    for path, rows in (
        ("/v1/audit-log", "entries"),
        ("/v1/suppression", "suppressions"),
    ):
        assert sandbox.get(path, key="test admin")[rows] == []
    lifted = sandbox.delete(f"/v1/suppression/{address}", key="test admin")
    assert lifted.status_code == 404
    sandbox.post(f"{sandbox.base}/request-upgrade", target_mode="autonomous")
    (shown,) = sandbox.get("/v1/upgrade-requests", key="test admin")["requests"]
    assert shown["code"] is None


def test_sandbox_key_gets_events_of_sandbox_mail_only(sandbox):
    sandbox.listen("oversight.pending")
    hook = {"url": "https://hooks.example.org/x", "events": ["oversight.pending"]}
    made = sandbox.post("/v1/webhooks", key="test admin", **hook).json()
    live = sandbox.held()
    tried = sandbox.held(key="tester")
    for key, heard in (("test admin", {tried}), ("admin", {live, tried})):
        rows = sandbox.get("/v1/webhook-deliveries", key=key)["deliveries"]
        assert {row["email_id"] for row in rows} == heard, key
    (seen,) = sandbox.get("/v1/webhooks", key="test admin")["webhooks"]
    assert seen["id"] == made["id"]


def test_webhook_moved_to_a_mailbox_drops_older_events_of_other_mailboxes(world):
    second = add_mailbox(world, "second")
    add_key(world, "one", ["admin"], mailbox_ids=[second.pk])
    hook = world.listen("oversight.pending")
    world.held()
    (old,) = world.get("/v1/webhook-deliveries", key="admin")["deliveries"]
    world.patch(f"/v1/webhooks/{hook.pk}", mailbox_id=second.pk)
    assert world.get("/v1/webhook-deliveries", key="one")["deliveries"] == []
    replayed = world.post(f"/v1/webhook-deliveries/{old['id']}/replay", key="one")
    assert replayed.status_code == 404


def test_body_is_read_only_with_a_key_and_a_large_one_only_with_a_valid_key(
    world, monkeypatch
):
    # Connections are closed between requests, but the test's transaction needs its own.
    monkeypatch.setattr(request_rules, "close_old_connections", lambda: None)
    most = 30 * 1024 * 1024
    own = world.keys["agent"]

    def read(path="/send_email", **sent):
        """How much is read of a body, and how much of one by this sender."""
        environ = {"PATH_INFO": path, **sent}
        return request_rules.most_body(environ), request_rules.most_of_sender(environ)

    assert read() == (0, 0)
    assert read(HTTP_AUTHORIZATION="Bearer nobody") == (most, 0)
    assert read(HTTP_AUTHORIZATION=f"Bearer {own}") == (most, most)
    assert read(HTTP_X_API_KEY=own) == (most, most)
    # One click in a mail program has a small body and no key.
    assert read("/v1/unsubscribe/x:y") == (most, 0)
    ApiKey.objects.filter(sha256=hash_key(own)).update(revoked_at=timezone.now())
    assert read(HTTP_X_API_KEY=own) == (most, 0)


@pytest.mark.slow
def test_slow_dns_lookups_hold_one_thread_only(world):
    made = world.post("/v1/domains", key="admin", domain="slow.example").json()
    # Waiting for the other look-up here would never end.
    with domains.asking:
        body = world.post(f"/v1/domains/{made['id']}/verify", key="admin").json()
    assert body["status"] == "pending"
    assert "is being looked up" in body["message"]
