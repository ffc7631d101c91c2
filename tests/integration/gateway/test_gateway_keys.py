"""API keys: shown once, never both writer and judge, and never wider than the key that made them."""

from typing import Any

import pytest

from gateway.auth import hash_key
from gateway.models import ApiKey, ApprovalRequest, AuditLogEntry, Email
from gateway.provision import make_mailbox, register_key
from tests.integration.gateway.test_gateway_races import at_once
from tests.integration.gateway.world import World, add_key, make_inbound, make_world


def create(world: World, key: str = "admin", **fields: Any) -> Any:
    return world.call("POST", "/v1/api-keys", key=key, json={"name": "Bot", **fields})


def patch(world: World, key_id: str, key: str = "admin", **fields: Any) -> Any:
    return world.call("PATCH", f"/v1/api-keys/{key_id}", key=key, json=fields)


def revoke(world: World, key_id: str, key: str = "admin") -> Any:
    return world.call("DELETE", f"/v1/api-keys/{key_id}", key=key)


def id_of(world: World, key: str) -> str:
    return ApiKey.objects.get(sha256=hash_key(world.keys[key])).pk


def limited(world: World, name: str, scopes: list[str], mailbox_ids: list[str]) -> str:
    text = f"mm_live_{world.account.slug}_{name}"
    register_key(account=world.account, name=name, scopes=scopes, text=text, mailbox_ids=mailbox_ids)
    world.keys[name] = text
    return text


@pytest.fixture
def two(world: World) -> World:
    """An account with a second mailbox, and keys of each kind that may use the first one only."""
    make_mailbox(account=world.account, address="second@acme.example", display_name="Second")
    for name, scopes in {"one agent": ["read", "send"], "one desk": ["oversight"], "one admin": ["admin"]}.items():
        limited(world, name, scopes, [world.mailbox.pk])
    return world


def second(world: World) -> str:
    return "/v1/mailboxes/second@acme.example"


def test_key_is_shown_once_and_works(world: World):
    made = create(world, scopes=["read", "send"])
    assert made.status_code == 201
    told = made.json()
    assert told["api_key"] == told["key"]
    assert told["prefix"] == f"{told['key'][:11]}..."
    assert told["key"].startswith("mm_live_")
    assert (told["scopes"], told["mailboxes"], told["sandbox"]) == (["read", "send"], None, False)
    world.keys["new"] = told["key"]
    assert world.send(key="new").status_code == 202
    listed = world.call("GET", "/v1/api-keys", key="admin")
    assert told["key"] not in listed.content.decode()
    row = next(row for row in listed.json()["api_keys"] if row["id"] == told["id"])
    assert row["is_active"] is True
    assert row["last_used_at"] is not None
    assert told["key"] not in str(list(ApiKey.objects.values()) + list(AuditLogEntry.objects.values()))


def test_scopes_are_read_where_none_are_named(world: World):
    assert create(world).json()["scopes"] == ["read"]


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": ["send", "oversight"]},
        {"scopes": [" SEND", "Oversight", "admin"]},
        {"scopes": ["root"]},
        {"scopes": []},
        {"scopes": "read"},
        {"name": ""},
        {"name": "two\nlines"},
        {"mailboxes": []},
    ],
)
def test_key_with_a_bad_field_is_refused(world: World, fields: dict[str, Any]):
    before = ApiKey.objects.count()
    refused = create(world, **fields)
    assert refused.status_code == 422
    assert "error" in refused.json()
    assert ApiKey.objects.count() == before


@pytest.mark.parametrize("mailbox", ["nobody@acme.example", "support@globex.example", "01JD0000000000000000000000"])
def test_key_for_a_mailbox_that_is_not_here_is_refused(world: World, other: World, mailbox: str):
    assert create(world, mailboxes=[mailbox]).status_code == 404


@pytest.mark.parametrize("key", ["agent", "desk", "reader", "watcher"])
def test_only_admins_look_after_keys(world: World, key: str):
    mine = id_of(world, key)
    answers = [
        world.call("GET", "/v1/api-keys", key=key),
        create(world, key=key),
        patch(world, mine, key=key, scopes=["admin"]),
        revoke(world, mine, key=key),
    ]
    assert {answer.status_code for answer in answers} == {403}


def test_revoked_key_is_refused_at_once_and_stays_revoked(world: World):
    key_id = id_of(world, "agent")
    assert revoke(world, key_id).json() == {"id": key_id, "status": "revoked"}
    assert world.send().status_code == 401
    assert revoke(world, key_id).status_code == 200
    assert (patch(world, key_id, name="Back").status_code, world.send().status_code) == (409, 401)
    rows = world.call("GET", "/v1/api-keys", key="admin").json()["api_keys"]
    assert [row["is_active"] for row in rows if row["id"] == key_id] == [False]
    assert AuditLogEntry.objects.filter(action="api_key.revoked").count() == 1


def test_key_may_revoke_itself_but_not_the_last_admin(world: World):
    assert (revoke(world, id_of(world, "admin")).status_code, patch(world, id_of(world, "admin")).status_code) == (
        409,
        422,
    )
    assert patch(world, id_of(world, "admin"), scopes=["read"]).json()["code"] == "last_admin"
    assert patch(world, id_of(world, "admin"), mailboxes=[world.mailbox.address]).status_code == 409
    world.keys["second"] = create(world, scopes=["admin"]).json()["key"]
    assert revoke(world, id_of(world, "second"), key="second").status_code == 200
    assert world.call("GET", "/v1/api-keys", key="second").status_code == 401


@pytest.mark.django_db(transaction=True)
def test_two_admins_that_revoke_each_other_leave_one(transactional_db: None):
    world = make_world()
    add_key(world, "second", ["admin"])
    ids = {name: id_of(world, name) for name in ("admin", "second")}
    at_once(lambda: revoke(world, ids["admin"], key="second"), lambda: revoke(world, ids["second"], key="admin"))
    assert ApiKey.objects.administering().count() == 1


def test_change_of_a_key_holds_from_the_next_call(world: World):
    key_id = id_of(world, "agent")
    told = patch(world, key_id, name="Renamed", scopes=["read"], mailboxes=[world.mailbox.address]).json()
    assert (told["status"], told["name"], told["scopes"]) == ("updated", "Renamed", ["read"])
    assert told["mailboxes"] == [world.mailbox.pk]
    assert world.send().status_code == 403
    assert patch(world, key_id, mailboxes=None).json()["mailboxes"] is None


def test_send_and_oversight_never_meet_by_a_change(world: World):
    refused = patch(world, id_of(world, "agent"), scopes=["send", "oversight"])
    assert refused.status_code == 422
    assert ApiKey.objects.get(pk=id_of(world, "agent")).scopes == ["read", "send"]


def test_gaining_oversight_takes_an_operators_code(world: World):
    key_id = id_of(world, "reader")
    waiting = patch(world, key_id, scopes=["read", "oversight"])
    assert (waiting.status_code, waiting.json()["status"]) == (202, "pending_approval")
    assert ApiKey.objects.get(pk=key_id).scopes == ["read"]
    code = ApprovalRequest.objects.get().code
    # It was given for this key and these scopes.
    assert patch(world, id_of(world, "watcher"), scopes=["read", "oversight"], approval_code=code).status_code == 404
    assert patch(world, key_id, scopes=["admin", "oversight"], approval_code=code).status_code == 404
    assert patch(world, key_id, scopes=["read", "oversight"], approval_code=code).status_code == 200
    assert world.call("GET", "/v1/oversight/pending", key="reader").status_code == 200
    # Keeping it needs none.
    assert patch(world, key_id, scopes=["oversight"]).status_code == 200


def test_key_of_another_account_is_not_there(world: World, other: World):
    for answer in (patch(world, id_of(other, "agent"), name="Mine"), revoke(world, id_of(other, "agent"))):
        assert answer.status_code == 404
    assert other.send().status_code == 202


def test_sandbox_key_makes_sandbox_keys_only(world: World):
    add_key(world, "tester", ["admin"], prefix="mm_test_")
    assert create(world, sandbox=True).json()["key"].startswith("mm_test_")
    made = create(world, key="tester").json()
    assert (made["sandbox"], made["key"][:8]) == (True, "mm_test_")
    assert create(world, key="tester", sandbox=False).json()["code"] == "sandbox_key"
    assert revoke(world, id_of(world, "agent"), key="tester").status_code == 404


def test_limited_key_knows_of_its_mailboxes_only(two: World):
    listed = two.call("GET", "/v1/mailboxes", key="one agent").json()["mailboxes"]
    assert [row["id"] for row in listed] == [two.mailbox.pk]
    assert two.call("GET", "/v1/account", key="one agent").json()["mailboxes"][0]["id"] == two.mailbox.pk
    assert two.send(key="one agent").status_code == 202
    theirs = two.call("POST", f"{second(two)}/send", json={"to": "a@x.example", "subject": "s", "body": "b"}).json()
    e, t = theirs["id"], theirs["thread_id"]
    flat = {"from": "second@acme.example", "to": "a@x.example", "subject": "s", "body": "other"}
    calls = [
        ("GET", second(two), None),
        ("GET", f"{second(two)}/emails", None),
        ("GET", f"{second(two)}/emails/{e}", None),
        ("GET", f"{two.base}/emails/{e}", None),
        ("GET", f"{second(two)}/threads/{t}", None),
        ("GET", f"{two.base}/threads/{t}", None),
        ("GET", f"/get_thread?thread_id={t}", None),
        ("GET", f"/read_email?id={e}", None),
        ("GET", "/check_inbox?mailbox=second@acme.example", None),
        ("GET", f"{second(two)}/emails/{e}/tags", None),
        ("POST", f"{second(two)}/emails/{e}/cancel", None),
        ("POST", "/cancel_message", {"email_id": e}),
        ("POST", "/tag_email", {"id": e, "tags": ["x"]}),
        ("POST", f"{second(two)}/send", flat),
        ("POST", "/send_email", flat),
        ("POST", "/reply_email", {"email_id": e, "body": "x"}),
        ("POST", f"{two.base}/reply/{e}", {"body": "x"}),
        ("POST", f"{second(two)}/request-upgrade", {"target_mode": "autonomous"}),
        ("POST", f"{second(two)}/upgrade", {"code": "A7X-29K"}),
    ]
    found = {path: two.call(verb, path, key="one agent", json=body).status_code for verb, path, body in calls}
    assert {path: status for path, status in found.items() if status != 404} == {}


def test_limited_desk_sees_and_decides_its_mailboxes_only(two: World):
    mine = two.held()
    theirs = two.call("POST", f"{second(two)}/send", json={"to": "a@x.example", "subject": "s", "body": "b"}).json()
    told = two.call("GET", "/v1/oversight/pending", key="one desk").json()
    assert [row["id"] for row in told["pending"]] == [mine]
    for path in (f"/v1/oversight/pending?email_id={theirs['id']}", "/list_pending?mailbox=second@acme.example"):
        assert two.call("GET", path, key="one desk").status_code == 404
    assert two.decide(theirs["id"], key="one desk").status_code == 404
    assert two.decide(mine, key="one desk").status_code == 200
    assert Email.objects.get(pk=theirs["id"]).decision == ""


def test_limited_admin_reaches_nothing_beyond_its_mailboxes(two: World):
    hook = {"url": "https://hooks.example.org/x", "events": ["message.sent"]}
    two.listen("message.sent")
    two.call("POST", f"{second(two)}/request-upgrade", json={"target_mode": "autonomous"})
    account_wide = [
        ("POST", "/v1/mailboxes", {"address_local": "third"}),
        ("PATCH", "/v1/account", {"hold_all": False}),
        ("DELETE", "/v1/account", None),
    ]
    for verb, path, body in account_wide:
        refused = two.call(verb, path, key="one admin", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "limited_key"), path
    assert two.call("DELETE", second(two), key="one admin").status_code == 404
    assert two.call("POST", "/v1/webhooks", key="one admin", json=hook).status_code in (403, 422)
    there = hook | {"mailbox_id": "second@acme.example"}
    assert two.call("POST", "/v1/webhooks", key="one admin", json=there).status_code == 404
    assert two.call("GET", "/v1/webhooks", key="one admin").json()["webhooks"] == []
    assert two.call("GET", "/v1/upgrade-requests", key="one admin").json() == {"requests": []}


def test_limited_admin_makes_and_keeps_only_keys_within_its_limits(two: World):
    assert create(two, key="one admin").status_code == 422
    assert create(two, key="one admin", mailboxes=["second@acme.example"]).status_code == 404
    made = create(two, key="one admin", mailboxes=[two.mailbox.address]).json()
    assert made["mailboxes"] == [two.mailbox.pk]
    assert patch(two, made["id"], key="one admin", mailboxes=None).status_code == 422
    for key_id in (id_of(two, "agent"), id_of(two, "admin")):
        assert patch(two, key_id, key="one admin", name="x").status_code == 404
        assert revoke(two, key_id, key="one admin").status_code == 404
    rows = two.call("GET", "/v1/api-keys", key="one admin").json()["api_keys"]
    assert {row["name"] for row in rows} == {"one agent", "one desk", "one admin", "Bot"}


def test_key_of_a_deleted_mailbox_is_not_free_of_limits(two: World):
    two.call("DELETE", two.base, key="admin")
    assert two.call("GET", "/v1/mailboxes", key="one agent").json() == {"mailboxes": []}
    assert two.call("GET", second(two), key="one agent").status_code == 404


def test_inbound_of_another_mailbox_is_not_there_for_a_limited_key(two: World):
    email = make_inbound(two, mailbox=two.account.mailboxes.get(address="second@acme.example"))
    assert two.call("GET", f"/read_email?id={email.pk}", key="one agent").status_code == 404
    assert two.call("GET", "/check_inbox", key="one agent").json()["emails"] == []
