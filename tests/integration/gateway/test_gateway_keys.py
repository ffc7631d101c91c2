"""API keys: shown once, never with both send and oversight, and never wider than the
key that created them.
"""

import pytest

from gateway.models import ApiKey, ApprovalRequest, AuditLogEntry, Email
from tests.integration.gateway.world import (
    add_key,
    add_mailbox,
    add_sandbox_keys,
    at_once,
    make_inbound,
    make_world,
    refusal_of,
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
    made = create(world, scopes=["read", "send"])
    body = made.json()
    assert made.status_code == 201
    assert body["api_key"] == body["key"]
    assert body["prefix"] == f"{body['key'][:11]}..."
    assert body["key"].startswith("mm_live_")
    assert body["scopes"] == ["read", "send"]
    assert body["mailboxes"] is None
    assert body["sandbox"] is False
    world.keys["new"] = body["key"]
    assert world.send(key="new").status_code == 202
    listed = world.call("GET", "/v1/api-keys", key="admin")
    row = next(row for row in listed.json()["api_keys"] if row["id"] == body["id"])
    assert row["is_active"] is True
    assert row["last_used_at"] is not None
    stored = str([*ApiKey.objects.values(), *AuditLogEntry.objects.values()])
    assert body["key"] not in listed.text + stored
    assert create(world).json()["scopes"] == ["read"]


def test_key_with_a_bad_field_or_a_mailbox_that_is_not_here_is_refused(world, other):
    before = ApiKey.objects.count()
    bad = [
        {"scopes": ["send", "oversight"]}, {"scopes": [" SEND", "Oversight", "admin"]}, {"scopes": ["root"]},
        {"scopes": []}, {"scopes": "read"}, {"name": ""}, {"name": "two\nlines"}, {"mailboxes": []},
    ]  # fmt: skip
    assert [
        fields for fields in bad if create(world, **fields).status_code != 422
    ] == []
    nowhere = [
        "nobody@acme.example",
        "support@globex.example",
        "01JD0000000000000000000000",
    ]
    assert [
        one for one in nowhere if create(world, mailboxes=[one]).status_code != 404
    ] == []
    assert ApiKey.objects.count() == before
    for key in ("agent", "desk"):
        answer = patch(world, world.key_id(key), scopes=["send", "oversight"])
        assert answer.status_code == 422, key
        assert answer.json()["error"] != "", key
    assert not ApiKey.objects.filter(scopes__contains=["send", "oversight"]).exists()


def test_revoked_key_is_refused_at_once_and_stays_revoked(world):
    key_id = world.key_id("agent")
    assert revoke(world, key_id).json() == {"id": key_id, "status": "revoked"}
    assert world.send().status_code == 401
    assert revoke(world, key_id).status_code == 200
    assert patch(world, key_id, name="Back").status_code == 409
    assert world.send().status_code == 401
    rows = world.get("/v1/api-keys", key="admin")["api_keys"]
    assert [row["is_active"] for row in rows if row["id"] == key_id] == [False]
    assert times_noted("api_key.revoked") == 1


def test_key_may_revoke_itself_but_not_the_last_admin(world):
    admin = world.key_id("admin")
    assert revoke(world, admin).status_code == 409
    assert patch(world, admin).status_code == 422
    assert patch(world, admin, scopes=["read"]).json()["code"] == "last_admin"
    assert patch(world, admin, mailboxes=[world.mailbox.address]).status_code == 409
    world.keys["second"] = create(world, scopes=["admin"]).json()["key"]
    assert revoke(world, world.key_id("second"), key="second").status_code == 200
    assert world.call("GET", "/v1/api-keys", key="second").status_code == 401


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


def test_change_of_a_key_applies_from_the_next_call(world):
    key_id = world.key_id("agent")
    body = patch(
        world,
        key_id,
        name="Renamed",
        scopes=["read"],
        mailboxes=[world.mailbox.address],
    ).json()
    assert body["status"] == "updated"
    assert body["name"] == "Renamed"
    assert body["scopes"] == ["read"]
    assert body["mailboxes"] == [world.mailbox.pk]
    assert world.send().status_code == 403
    assert patch(world, key_id, mailboxes=None).json()["mailboxes"] is None


def test_gaining_oversight_takes_an_operators_code(world):
    key_id = world.key_id("reader")
    waiting = patch(world, key_id, scopes=["read", "oversight"])
    assert waiting.status_code == 202
    assert waiting.json()["status"] == "pending_approval"
    assert ApiKey.objects.get(pk=key_id).scopes == ["read"]
    code = ApprovalRequest.objects.get().code
    # The code is valid only for this key and these scopes.
    watcher = world.key_id("watcher")
    assert (
        patch(
            world, watcher, scopes=["read", "oversight"], approval_code=code
        ).status_code
        == 404
    )
    assert (
        patch(
            world, key_id, scopes=["admin", "oversight"], approval_code=code
        ).status_code
        == 404
    )
    assert (
        patch(
            world, key_id, scopes=["read", "oversight"], approval_code=code
        ).status_code
        == 200
    )
    assert world.call("GET", "/v1/oversight/pending", key="reader").status_code == 200
    # Leaving the scope as it is needs no code.
    assert patch(world, key_id, scopes=["oversight"]).status_code == 200


def test_oversight_key_needs_a_code_unless_the_operator_disabled_that(world, settings):
    """Point 12."""
    for codes in ("0", "1"):
        settings.GATEWAY_APPROVAL_CODES = codes
        with undone():
            waiting = create(world, scopes=["oversight"])
            assert waiting.status_code == 202
            assert not ApiKey.objects.filter(name="Bot").exists()
            made = create(
                world,
                scopes=["oversight"],
                approval_code=ApprovalRequest.objects.get().code,
            )
            assert made.status_code == 201
            assert made.json()["scopes"] == ["oversight"]
    settings.GATEWAY_APPROVAL_CODES = "0"
    settings.GATEWAY_OVERSIGHT_CODES = False
    assert create(world, scopes=["oversight"]).status_code == 201
    assert (
        patch(world, world.key_id("reader"), scopes=["read", "oversight"]).status_code
        == 200
    )


def test_sandbox_key_creates_sandbox_keys_only(world):
    add_sandbox_keys(world)
    assert create(world, sandbox=True).json()["key"].startswith("mm_test_")
    made = create(world, key="test admin").json()
    assert made["sandbox"] is True
    assert made["key"][:8] == "mm_test_"
    assert (
        create(world, key="test admin", sandbox=False).json()["code"] == "sandbox_key"
    )
    assert revoke(world, world.key_id("agent"), key="test admin").status_code == 404


def test_limited_key_sees_its_mailboxes_only(two):
    listed = two.get("/v1/mailboxes", key="one agent")["mailboxes"]
    assert [row["id"] for row in listed] == [two.mailbox.pk]
    assert (
        two.get("/v1/account", key="one agent")["mailboxes"][0]["id"] == two.mailbox.pk
    )
    assert two.send(key="one agent").status_code == 202
    received = make_inbound(
        two, mailbox=two.account.mailboxes.get(address="second@acme.example")
    )
    theirs = held_in_the_second(two)
    e = theirs["id"]
    t = theirs["thread_id"]
    flat = {
        "from": "second@acme.example",
        "to": "a@x.example",
        "subject": "s",
        "body": "other",
    }
    calls = [
        ("GET", SECOND, None),
        ("GET", f"{SECOND}/emails", None),
        ("GET", f"{SECOND}/emails/{e}", None),
        ("GET", f"{two.base}/emails/{e}", None),
        ("GET", f"{SECOND}/threads/{t}", None),
        ("GET", f"{two.base}/threads/{t}", None),
        ("GET", f"/get_thread?thread_id={t}", None),
        ("GET", f"/read_email?id={e}", None),
        ("GET", f"/read_email?id={received.pk}", None),
        ("GET", "/check_inbox?mailbox=second@acme.example", None),
        ("GET", f"{SECOND}/emails/{e}/tags", None),
        ("POST", f"{SECOND}/emails/{e}/cancel", None),
        ("POST", "/cancel_message", {"email_id": e}),
        ("POST", "/tag_email", {"id": e, "tags": ["x"]}),
        ("POST", f"{SECOND}/send", flat),
        ("POST", "/send_email", flat),
        ("POST", "/reply_email", {"email_id": e, "body": "x"}),
        ("POST", f"{two.base}/reply/{e}", {"body": "x"}),
        ("POST", f"{SECOND}/request-upgrade", {"target_mode": "autonomous"}),
        ("POST", f"{SECOND}/upgrade", {"code": "A7X-29K"}),
    ]
    found = {
        path: two.call(verb, path, key="one agent", json=body).status_code
        for verb, path, body in calls
    }
    assert {path: status for path, status in found.items() if status != 404} == {}
    assert two.get("/check_inbox", key="one agent")["emails"] == []
    # Deleting its mailbox does not lift its limits.
    two.delete(two.base)
    assert two.get("/v1/mailboxes", key="one agent") == {"mailboxes": []}
    assert two.call("GET", SECOND, key="one agent").status_code == 404


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
    assert Email.objects.get(pk=theirs).decision == ""


def test_limited_admin_reaches_nothing_beyond_its_mailboxes(two):
    two.post(f"{SECOND}/request-upgrade", target_mode="autonomous")
    for verb, path, body in (
        ("POST", "/v1/mailboxes", {"address_local": "third"}),
        ("PATCH", "/v1/account", {"hold_all": False}),
        ("DELETE", "/v1/account", None),
    ):
        refused = two.call(verb, path, key="one admin", json=body)
        assert refusal_of(refused) == (403, "limited_key"), path
    assert two.delete(SECOND, key="one admin").status_code == 404
    assert two.get("/v1/upgrade-requests", key="one admin") == {"requests": []}


def test_limited_admin_creates_and_edits_only_keys_within_its_limits(two):
    assert create(two, key="one admin").status_code == 422
    assert (
        create(two, key="one admin", mailboxes=["second@acme.example"]).status_code
        == 404
    )
    made = create(two, key="one admin", mailboxes=[two.mailbox.address]).json()
    assert made["mailboxes"] == [two.mailbox.pk]
    assert patch(two, made["id"], key="one admin", mailboxes=None).status_code == 422
    for key_id in (two.key_id("agent"), two.key_id("admin")):
        assert patch(two, key_id, key="one admin", name="x").status_code == 404
        assert revoke(two, key_id, key="one admin").status_code == 404
    rows = two.get("/v1/api-keys", key="one admin")["api_keys"]
    assert {row["name"] for row in rows} == {
        "Key one agent",
        "Key one desk",
        "Key one admin",
        "Bot",
    }
