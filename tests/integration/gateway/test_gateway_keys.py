"""API keys: shown once, never with both send and oversight, and never wider than the
key that created them. The account: its changes, and its deletion, after which nothing
is sent.
"""

import json
from datetime import timedelta
from string import Template

import pytest
from django.utils import timezone

from common.tables import table_rows
from gateway import request_rules, tasks
from gateway.messages import outbox
from gateway.models import (
    Account,
    ApiKey,
    ApprovalRequest,
    AuditLogEntry,
    Email,
    Mailbox,
    Suppression,
)
from gateway.models.accounts import hash_key
from gateway.states import Mode, Status
from gateway.timestamps import iso
from tests.integration.deciding import at_once
from tests.integration.gateway.world import (
    add_key,
    add_mailbox,
    add_sandbox_keys,
    events_of,
    leave,
    make_inbound,
    make_world,
    refusal_of,
    status_of,
    times_noted,
    undone,
)

SECOND = "/v1/mailboxes/second@acme.example"


def create(world, key="admin", **fields):
    return world.post("/v1/api-keys", key, **{"name": "Bot", **fields})


def patch(world, key_id, key="admin", **fields):
    return world.patch(f"/v1/api-keys/{key_id}", key=key, **fields)


def revoke(world, key_id, key="admin"):
    return world.delete(f"/v1/api-keys/{key_id}", key=key)


@pytest.fixture
def two(world):
    """An account with a second mailbox, and keys of each kind that may use the first
    one only.
    """
    add_mailbox(world, "second")
    for name, scopes in {
        "one agent": ["read", "send"],
        "one desk": ["oversight"],
        "one admin": ["admin"],
    }.items():
        add_key(world, name, scopes, mailbox_ids=[world.mailbox.pk])
    return world


def held_in_the_second(world):
    return world.post(f"{SECOND}/send", to="a@x.example", subject="s", body="b").json()


def test_key_is_shown_once_and_works(world):
    body = create(world, scopes=["read", "send"]).json()
    key = world.keys["new"] = body["key"]
    assert body["api_key"] == key
    assert body["prefix"] == f"{key[:11]}..."
    assert body["scopes"] == ["read", "send"]
    assert body["mailboxes"] is None
    assert body["sandbox"] is False
    assert world.send(key="new").status_code == 202
    listed = world.call("GET", "/v1/api-keys", key="admin")
    (row,) = [row for row in listed.json()["api_keys"] if row["id"] == body["id"]]
    assert row["last_used_at"] is not None
    stored = str([*ApiKey.objects.values(), *AuditLogEntry.objects.values()])
    assert key not in listed.text + stored
    assert create(world).json()["scopes"] == ["read"]


def test_revoked_key_is_refused_at_once_and_stays_revoked(world):
    key_id = world.key_id("agent")
    for _ in range(2):
        assert revoke(world, key_id).json() == {"id": key_id, "status": "revoked"}
        assert world.send().status_code == 401
        assert patch(world, key_id, name="Back").status_code == 409
    rows = world.get("/v1/api-keys", key="admin")["api_keys"]
    assert [row["is_active"] for row in rows if row["id"] == key_id] == [False]
    assert times_noted("api_key.revoked") == 1


def test_key_that_expires_is_refused_from_then_on_and_makes_none_that_lasts_longer(
    world,
):
    ends = timezone.now() + timedelta(days=1)
    made = create(world, scopes=["admin"], expires_at=iso(ends))
    assert made.status_code == 201, made.text
    world.keys["short"] = made.json()["key"]
    assert made.json()["expires_at"][:16] == iso(ends)[:16]
    later = iso(ends + timedelta(days=1))
    for wrong, status in (
        ({}, 403),
        ({"expires_at": later}, 403),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422),
    ):
        key = "admin" if status == 422 else "short"
        assert create(world, key, **wrong).status_code == status, wrong
    # It is not the one that keeps the account.
    assert revoke(world, world.key_id("admin")).status_code == 409
    ApiKey.objects.filter(pk=made.json()["id"]).update(expires_at=timezone.now())
    answer = world.call("GET", "/v1/api-keys", key="short")
    assert answer.status_code == 401
    assert "It has expired" in answer.text
    rows = world.get("/v1/api-keys", key="admin")["api_keys"]
    assert [one["is_active"] for one in rows if one["expires_at"]] == [False]


def test_key_may_revoke_itself_but_not_the_last_admin(world):
    admin = world.key_id("admin")
    for answer in (
        revoke(world, admin),
        patch(world, admin, scopes=["read"]),
        patch(world, admin, mailboxes=[world.mailbox.address]),
    ):
        assert refusal_of(answer) == (409, "last_admin")
    world.keys["second"] = create(world, scopes=["admin"]).json()["key"]
    assert revoke(world, world.key_id("second"), key="second").status_code == 200
    assert world.call("GET", "/v1/api-keys", key="second").status_code == 401


def test_oversight_key_needs_a_code(world, settings):
    """Point 12."""
    for codes in ("0", "1"):
        settings.GATEWAY_APPROVAL_CODES = codes
        with undone():
            assert create(world, scopes=["oversight"]).status_code == 202
            assert not ApiKey.objects.filter(name="Bot").exists()
            code = ApprovalRequest.objects.get().code
            made = create(world, scopes=["oversight"], approval_code=code)
            assert made.status_code == 201


def test_sandbox_key_creates_sandbox_keys_only(world):
    add_sandbox_keys(world)
    assert create(world, sandbox=True).json()["key"].startswith("mm_test_")
    made = create(world, key="test admin").json()
    assert made["sandbox"] is True
    assert made["key"].startswith("mm_test_")
    loose = create(world, key="test admin", sandbox=False)
    assert loose.json()["code"] == "sandbox_key"
    assert revoke(world, world.key_id("agent"), key="test admin").status_code == 404


# What a key that is limited to the first mailbox tries with a message of the second.
THEIRS = table_rows("""
GET  | /v1/mailboxes/second@acme.example/emails   | null
GET  | $mine/emails/$email                        | null
GET  | $mine/threads/$thread                      | null
GET  | /get_thread?thread_id=$thread              | null
GET  | /read_email?id=$email                      | null
GET  | /check_inbox?mailbox=second@acme.example   | null
POST | /cancel_message                            | {"email_id": "$email"}
POST | /tag_email                                 | {"id": "$email", "tags": ["x"]}
POST | /send_email  | {"from": "second@acme.example", "to": "a@x.example", "subject": "s", "body": "other"}
POST | /reply_email                               | {"email_id": "$email", "body": "x"}
POST | $mine/reply/$email                         | {"body": "x"}
POST | /v1/mailboxes/second@acme.example/request-upgrade    | {"target_mode": "autonomous"}
""")


def test_limited_key_sees_its_mailboxes_only(two):
    for path in ("/v1/mailboxes", "/v1/account"):
        (row,) = two.get(path, key="one agent")["mailboxes"]
        assert row["id"] == two.mailbox.pk
    assert two.send(key="one agent").status_code == 202
    theirs = held_in_the_second(two)
    email = theirs["id"]
    for method, path, body in THEIRS:
        known = {"mine": two.base, "email": email, "thread": theirs["thread_id"]}
        path, body = (Template(one).substitute(known) for one in (path, body))
        answer = two.call(method, path, key="one agent", json=json.loads(body))
        assert answer.status_code == 404, path
    make_inbound(two, mailbox=two.account.mailboxes.get(address="second@acme.example"))
    assert two.get("/check_inbox", key="one agent")["emails"] == []
    # Deleting its mailbox does not lift its limits.
    two.delete(two.base)
    assert two.get("/v1/mailboxes", key="one agent")["mailboxes"] == []


def test_limited_desk_sees_and_decides_its_mailboxes_only(two):
    mine = two.held()
    theirs = held_in_the_second(two)["id"]
    body = two.get("/v1/oversight/pending", key="one desk")
    assert [row["id"] for row in body["pending"]] == [mine]
    for path in (
        f"/v1/oversight/pending?email_id={theirs}",
        "/list_pending?mailbox=second@acme.example",
    ):
        assert two.call("GET", path, key="one desk").status_code == 404
    assert two.decide(theirs, key="one desk").status_code == 404
    assert two.decide(mine, key="one desk").status_code == 200


def test_limited_admin_reaches_nothing_beyond_its_mailboxes(two):
    two.post(f"{SECOND}/request-upgrade", target_mode="autonomous")
    for method, path, fields in (
        ("POST", "/v1/mailboxes", {"address_local": "third"}),
        ("PATCH", "/v1/account", {"hold_all": False}),
        ("DELETE", "/v1/account", None),
        ("GET", "/v1/domains", None),
        ("POST", "/v1/domains", {"domain": "more.example"}),
    ):
        refused = two.call(method, path, key="one admin", json=fields)
        assert refusal_of(refused) == (403, "limited_key"), path
    assert two.delete(SECOND, key="one admin").status_code == 404
    assert two.get("/v1/upgrade-requests", key="one admin")["requests"] == []


def test_limited_admin_creates_and_edits_only_keys_within_its_limits(two):
    def make(**fields):
        return create(two, key="one admin", **fields)

    assert make().status_code == 422
    assert make(mailboxes=["second@acme.example"]).status_code == 404
    made = make(mailboxes=[two.mailbox.address]).json()
    assert made["mailboxes"] == [two.mailbox.pk]
    assert patch(two, made["id"], key="one admin", mailboxes=None).status_code == 422
    for name in ("agent", "admin"):
        key_id = two.key_id(name)
        assert patch(two, key_id, key="one admin", name="x").status_code == 404
        assert revoke(two, key_id, key="one admin").status_code == 404
    rows = two.get("/v1/api-keys", key="one admin")["api_keys"]
    names = {"Key one agent", "Key one desk", "Key one admin", "Bot"}
    assert {row["name"] for row in rows} == names


def change(world, key="admin", **fields):
    return world.patch("/v1/account", key=key, **fields)


def delete(world, key="admin"):
    return world.delete("/v1/account", key=key)


def test_only_live_admin_keys_change_and_delete_the_account(world):
    for key in ("agent", "desk", "reader", "watcher"):
        assert delete(world, key=key).status_code == 403, key
    add_sandbox_keys(world)
    for answer in (
        delete(world, key="test admin"),
        change(world, key="test admin", hold_all=False),
    ):
        assert refusal_of(answer) == (403, "sandbox_key")
    assert Account.objects.get().is_active


def test_deleted_account_refuses_every_key_and_cancels_what_waits(
    world, other, mail_server
):
    world.listen("message.cancelled")
    held = world.held()
    approved = world.approved()
    scheduled = world.approved()
    theirs = other.held()
    claimed = Email.objects.claim(scheduled.pk)
    assert delete(world).json()["status"] == "deleted"
    for key in world.keys:
        answer = world.call("GET", "/v1/account", key=key)
        assert refusal_of(answer) == (403, "account_inactive"), key
    assert status_of(held) == status_of(approved) == Status.CANCELLED
    assert events_of(held) == ["message.cancelled"]
    assert status_of(theirs) == Status.PENDING_SEND_APPROVAL
    assert times_noted("account.deleted") == 1

    # Nothing is sent, not even an email that a worker has claimed.
    assert outbox._attempt(claimed) == "lease lost"
    assert leave(scheduled) == "not due"
    tasks.sweep()
    assert status_of(scheduled) == Status.CANCELLED
    assert mail_server.seen == 0


# --- attacks that once succeeded, at least in part, and must not any more ---


@pytest.fixture
def sandbox(world):
    """An account with sandbox keys."""
    add_sandbox_keys(world)
    return world


def awaits_code(answer):
    """Whether a change waits for an operator's code."""
    return refusal_of(answer) == (202, "pending_approval")


def test_sending_key_creates_no_more_powerful_key(world):
    add_key(world, "mighty", ["admin", "send"])

    def make(*scopes):
        return world.post("/v1/api-keys", key="mighty", name="Friend", scopes=scopes)

    for scopes in (("oversight",), ("read", "admin"), ("read", "oversight_read")):
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
    # A paused key makes no other key that sends.
    ApiKey.objects.filter(name="Key mighty").update(paused_at=timezone.now())
    assert awaits_code(make("read", "send"))


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
    assert read("/v1/unsubscribe/x:y") == (64 * 1024, 0)
    ApiKey.objects.filter(sha256=hash_key(own)).update(revoked_at=timezone.now())
    assert read(HTTP_X_API_KEY=own) == (most, 0)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_admins_that_revoke_each_other_leave_one():
    world = make_world()
    add_key(world, "second", ["admin"])
    ids = {name: world.key_id(name) for name in ("admin", "second")}
    at_once(
        lambda: revoke(world, ids["admin"], key="second"),
        lambda: revoke(world, ids["second"], key="admin"),
    )
    assert ApiKey.objects.account_admins().count() == 1


@pytest.mark.slow
def test_mail_accepted_before_its_mailbox_was_tightened_is_held(free, mail_server):
    email_id = free.held()
    for mode in (Mode.GATED_SEND, Mode.GATED_ALL, Mode.READ_ONLY):
        with undone():
            assert free.patch(free.base, oversight_mode=mode).status_code == 200
            assert leave(email_id) == "asked", mode
            assert status_of(email_id) == Status.PENDING_SEND_APPROVAL, mode
    assert mail_server.mails == 0
