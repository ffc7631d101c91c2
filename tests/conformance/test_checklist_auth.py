"""Lines 7 to 12 of the contract's checklist: keys, scopes, other people's things, limits, and bodies."""

import base64
from collections.abc import Callable

import pytest

from tests.conformance.tenant import ok, unique

JSON = {"Content-Type": "application/json"}
READ, SEND, ADMIN = {"read"}, {"send"}, {"admin"}
DECIDE, SEE, UPGRADE = {"oversight"}, {"oversight", "oversight_read"}, {"send", "admin"}
# Contract section 1: what each call needs. {m} is the mailbox, x is nothing that exists.
SCOPES = {
    "GET /v1/mailboxes": READ,
    "GET {m}": READ,
    "GET {m}/emails": READ,
    "GET {m}/emails/x": READ,
    "GET {m}/emails/x/attachments/x": READ,
    "GET {m}/emails/x/attachments/x/url": READ,
    "GET {m}/emails/x/tags": READ,
    "GET {m}/threads/x": READ,
    "GET /v1/contacts": READ,
    "GET /v1/usage": READ,
    "GET /v1/check_inbox": READ,
    "GET /check_inbox": READ,
    "GET /v1/inbox": READ,
    "GET /v1/read_email": READ,
    "GET /v1/get_thread": READ,
    "POST {m}/send": SEND,
    "POST {m}/reply/x": SEND,
    "POST {m}/emails/x/cancel": SEND,
    "PATCH {m}/emails/x/schedule": SEND,
    "PUT {m}/emails/x/tags": SEND,
    "DELETE {m}/emails/x/tags/x": SEND,
    "POST /v1/contacts": SEND,
    "POST /v1/send_email": SEND,
    "POST /send_email": SEND,
    "POST /v1/reply_email": SEND,
    "POST /v1/cancel_message": SEND,
    "POST /v1/tag_email": SEND,
    "POST {m}/request-upgrade": UPGRADE,
    "POST {m}/upgrade": UPGRADE,
    "GET /v1/oversight/pending": SEE,
    "GET /v1/list_pending": SEE,
    "GET /list_pending": SEE,
    "POST /v1/oversight/decide": DECIDE,
    "POST /v1/decide_email": DECIDE,
    "POST /decide_email": DECIDE,
    "POST /v1/mailboxes": ADMIN,
    "POST /v1/create_mailbox": ADMIN,
    "PATCH /v1/mailboxes/x": ADMIN,
    "PATCH /v1/mailboxes/x/configure": ADMIN,
    "DELETE /v1/mailboxes/x": ADMIN,
    "GET {m}/allowlist": ADMIN,
    "PUT {m}/allowlist": ADMIN,
    "GET /v1/refusals": SEE | ADMIN,
    "DELETE /v1/contacts/x": ADMIN,
    "GET /v1/api-keys": ADMIN,
    "POST /v1/api-keys": ADMIN,
    "PATCH /v1/api-keys/x": ADMIN,
    "DELETE /v1/api-keys/x": ADMIN,
    "GET /v1/webhooks": ADMIN,
    "POST /v1/webhooks": ADMIN,
    "GET /v1/webhooks/x": ADMIN,
    "DELETE /v1/webhooks/x": ADMIN,
    "POST /v1/webhooks/x/rotate": ADMIN,
    "POST /v1/webhooks/x/test": ADMIN,
    "GET /v1/webhook-deliveries": ADMIN,
    "POST /v1/webhook-deliveries/1/replay": ADMIN,
    "GET /v1/upgrade-requests": ADMIN,
    "GET /v1/domains": ADMIN,
    "POST /v1/domains": ADMIN,
    "GET /v1/domains/x": ADMIN,
    "POST /v1/domains/x/verify": ADMIN,
    "DELETE /v1/domains/x": ADMIN,
    "GET /v1/suppression": ADMIN,
    "DELETE /v1/suppression/x@y.example": ADMIN,
    "GET /v1/audit-log": ADMIN,
    "PATCH /v1/account": ADMIN,
}
ALL = ("read", "send", "oversight", "oversight_read", "admin")
BAD_KEYS = ("mm_live_unknown", "mm_test_unknown", "secret", "x", "ümlaut", "mm_live_" + "a" * 5000)


def operations(tenant):
    for operation in SCOPES:
        method, _, path = operation.partition(" ")
        yield operation, method, path.replace("{m}", tenant.base)


@pytest.mark.proves("contract 7")
def test_without_a_key_every_call_is_401(shared):
    for operation, method, path in operations(shared):
        answer = shared.call(method, path, key=None, headers=JSON)
        assert ok(answer, 401)["error"], operation


@pytest.mark.proves("contract 7")
@pytest.mark.parametrize("bad", BAD_KEYS)
def test_unknown_key_is_401_in_both_headers(gateway, bad):
    for headers in ({"Authorization": f"Bearer {bad}".encode()}, {"X-API-Key": bad.encode()}):
        assert ok(gateway.call("GET", "/v1/account", headers=headers), 401)["error"]


@pytest.mark.proves("contract 7")
@pytest.mark.parametrize("headers", [{"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}, {"X-API-Key": ""}])
def test_header_without_a_key_is_401(gateway, headers):
    assert ok(gateway.call("GET", "/v1/account", headers=headers), 401)["error"]


@pytest.mark.proves("contract 7")
def test_revoked_key_is_401(tenant):
    made = tenant.add_key("short-lived", "read")
    assert tenant.call("GET", "/v1/account", key="short-lived").status_code == 200
    assert ok(tenant.call("DELETE", f"/v1/api-keys/{made['id']}", key="admin"))["status"] == "revoked"
    assert ok(tenant.call("GET", "/v1/account", key="short-lived"), 401)["error"]


@pytest.mark.proves("contract 7")
def test_either_header_will_do_and_bearer_wins(shared):
    read, admin = shared.keys["read"], shared.keys["admin"]
    alone = shared.call("GET", "/v1/account", key=None, headers={"X-API-Key": read})
    assert ok(alone)["scopes"] == ["read"]
    both = shared.call(
        "GET", "/v1/account", key=None, headers={"X-API-Key": admin, "Authorization": f"bEARER  {read} "}
    )
    assert ok(both)["scopes"] == ["read"]
    bad = shared.call("GET", "/v1/account", key=None, headers={"X-API-Key": admin, "Authorization": "Bearer wrong"})
    assert bad.status_code == 401


@pytest.mark.proves("contract 7")
def test_inactive_account_is_403(tenant):
    tenant.gateway.sql("UPDATE gateway_account SET is_active = false WHERE id = %s", tenant.account)
    assert ok(tenant.call("GET", "/v1/account"), 403)["error"]


@pytest.mark.proves("contract 8")
def test_each_call_needs_its_scope_and_lacking_it_is_403(tenant):
    for scope in ALL:
        tenant.add_key(scope, scope)
    for operation, method, path in operations(tenant):
        needed = SCOPES[operation]
        for scope in ALL:
            answer = tenant.call(method, path, key=scope, headers=JSON)
            enough = scope in needed or (scope == "admin" and "read" in needed)
            refused = answer.status_code == 403 and answer.json()["code"] == "missing_scope"
            assert refused is not enough, f"{operation} with {scope}: {answer.status_code} {answer.text}"


@pytest.mark.proves("contract 8")
def test_oversight_read_lists_but_cannot_decide(tenant):
    sent = tenant.held()
    tenant.add_key("watcher", "oversight_read")
    assert [row["id"] for row in tenant.pending(key="watcher")] == [sent["id"]]
    assert tenant.decide(sent["id"], "approve", key="watcher").status_code == 403
    assert tenant.status(sent["id"]) == "pending_send_approval"


@pytest.mark.proves("contract 8")
def test_admin_reads_but_neither_sends_nor_decides(tenant):
    sent = tenant.held()
    tenant.add_key("boss", "admin")
    assert tenant.read(sent["id"], key="boss")["id"] == sent["id"]
    assert tenant.submit(key="boss").status_code == 403
    assert tenant.decide(sent["id"], "approve", key="boss").status_code == 403
    assert tenant.cancel(sent["id"], key="boss").status_code == 403


@pytest.mark.proves("contract 8")
def test_account_tells_a_key_without_read_only_what_it_is(shared):
    told = ok(shared.call("GET", "/v1/account", key="oversight"))
    assert set(told) == {"id", "scopes", "mailboxes"}
    assert told["scopes"] == ["oversight"]


@pytest.mark.proves("contract 9")
def test_key_that_sends_and_decides_is_never_made(shared):
    body = {"name": "Both", "scopes": ["send", "oversight"]}
    assert ok(shared.call("POST", "/v1/api-keys", key="admin", json=body), 422)["error"]
    assert "Both" not in [key["name"] for key in shared.get("/v1/api-keys", key="admin")["api_keys"]]


@pytest.mark.proves("contract 9")
@pytest.mark.parametrize("before", ["send", "oversight"])
def test_key_is_never_changed_to_send_and_decide(tenant, before):
    made = tenant.add_key("half", before)
    answer = tenant.call("PATCH", f"/v1/api-keys/{made['id']}", key="admin", json={"scopes": ["send", "oversight"]})
    assert ok(answer, 422)["error"]
    keys = {key["id"]: key["scopes"] for key in tenant.get("/v1/api-keys", key="admin")["api_keys"]}
    assert keys[made["id"]] == [before]


@pytest.mark.proves("contract 9")
def test_key_does_not_get_oversight_without_an_operator(tenant):
    made = tenant.add_key("reader", "read")
    path = f"/v1/api-keys/{made['id']}"
    first = tenant.call("PATCH", path, key="admin", json={"scopes": ["read", "oversight"]})
    assert (first.status_code, first.json()["status"]) == (202, "pending_approval")
    wrong = tenant.call("PATCH", path, key="admin", json={"scopes": ["read", "oversight"], "approval_code": "AAA-AAA"})
    assert wrong.status_code == 403
    assert tenant.call("GET", "/v1/oversight/pending", key="reader").status_code == 403


@pytest.mark.proves("contract 10")
def test_ids_of_another_account_are_404(tenant, other):
    file = {"name": "f", "content_base64": base64.b64encode(b"x").decode(), "content_type": "text/plain"}
    sent = other.held(attachments=[file])
    theirs, mine = f"{other.base}/emails/{sent['id']}", f"{tenant.base}/emails/{sent['id']}"
    for path in (theirs, mine):
        for rest in ("", "/tags", "/attachments/f", "/attachments/f/url"):
            assert tenant.call("GET", path + rest).status_code == 404, rest
        assert tenant.call("POST", f"{path}/cancel").status_code == 404
        assert tenant.call("PUT", f"{path}/tags", json={"tags": {"a": "b"}}).status_code == 404
        assert tenant.call("PATCH", f"{path}/schedule", json={"subject": "x"}).status_code == 404
    assert tenant.decide(sent["id"], "approve").status_code == 404
    assert other.status(sent["id"]) == "pending_send_approval"
    assert other.read(sent["id"])["tags"] == {}


@pytest.mark.proves("contract 10")
def test_flat_paths_do_not_reach_another_account_either(tenant, other):
    sent = other.held()
    for path in ("/read_email", "/v1/read_email"):
        assert tenant.call("GET", path, params={"id": sent["id"]}).status_code == 404
    assert tenant.call("GET", "/get_thread", params={"thread_id": sent["thread_id"]}).status_code == 404
    assert tenant.call("GET", "/check_inbox", params={"mailbox": other.address}).status_code == 404
    for path, key in (("/cancel_message", "agent"), ("/tag_email", "agent"), ("/decide_email", "oversight")):
        body = {"id": sent["id"], "tags": ["a"], "action": "approve"}
        assert tenant.call("POST", path, key=key, json=body).status_code == 404, path
    letter = {"from": other.address, "to": "a@x.example", "subject": "x", "body": "y"}
    assert tenant.call("POST", "/send_email", json=letter).status_code == 404
    assert tenant.call("POST", "/reply_email", json={"email_id": sent["id"], "body": "y"}).status_code == 404
    assert tenant.call("POST", "/reply_email", json={"thread_id": sent["thread_id"], "body": "y"}).status_code == 404


@pytest.mark.proves("contract 10")
def test_things_of_another_account_are_404_to_its_admin(tenant, other):
    hook = other.subscribe("message.sent")
    key = other.add_key("theirs", "read")
    contact = ok(other.call("POST", "/v1/contacts", json={"email": "c@x.example"}), 201)
    domain = ok(
        other.call("POST", "/v1/domains", key="admin", json={"domain": f"{other.mailbox}.example".lower()}), 201
    )
    for method, path in (
        *(("GET", other.base), ("PATCH", other.base), ("PATCH", f"{other.base}/configure"), ("DELETE", other.base)),
        *(("GET", f"{other.base}/allowlist?kind=bypass"), ("GET", f"{other.base}/threads/x")),
        *(("GET", f"/v1/webhooks/{hook['id']}"), ("DELETE", f"/v1/webhooks/{hook['id']}")),
        *(("POST", f"/v1/webhooks/{hook['id']}/rotate"), ("POST", f"/v1/webhooks/{hook['id']}/test")),
        *(("PATCH", f"/v1/api-keys/{key['id']}"), ("DELETE", f"/v1/api-keys/{key['id']}")),
        *(("DELETE", f"/v1/contacts/{contact['id']}"), ("GET", f"/v1/domains/{domain['id']}")),
        *(("POST", f"/v1/domains/{domain['id']}/verify"), ("DELETE", f"/v1/domains/{domain['id']}")),
    ):
        answer = tenant.call(method, path, key="admin", json={"display_name": "x", "name": "x"})
        assert answer.status_code == 404, f"{method} {path}: {answer.status_code} {answer.text}"
    assert other.call("GET", "/v1/account", key="theirs").status_code == 200


def limited(tenant, **limits):
    for column, value in limits.items():
        tenant.gateway.sql(f"UPDATE gateway_account SET {column} = %s WHERE id = %s", value, tenant.account)


def throttled(call: Callable):
    """Call until it is too much, which it must be soon."""
    for _ in range(10):
        answer = call()
        if answer.status_code == 429:
            assert answer.headers["Retry-After"].isdecimal()
            assert int(answer.headers["Retry-After"]) > 0
            return ok(answer, 429)
    raise AssertionError(f"never 429, at last {answer.status_code}")


@pytest.mark.proves("contract 11")
def test_too_many_requests_say_so_without_the_word_quota(tenant):
    limited(tenant, requests_per_minute=3)
    told = throttled(lambda: tenant.call("GET", "/v1/account"))
    assert "quota" not in str(told).lower()
    assert not told.get("warmup_stage")


@pytest.mark.proves("contract 11")
def test_used_up_quota_names_it(make_tenant):
    tenant = make_tenant("autonomous")
    limited(tenant, monthly_email_quota=2)
    told = throttled(tenant.submit)
    assert "quota" in told["error"]
    assert not told.get("warmup_stage")
    assert len(tenant.get(f"{tenant.base}/emails")["emails"]) == 2


@pytest.mark.proves("contract 11")
def test_warm_up_tells_its_stage(make_tenant):
    tenant = make_tenant("autonomous")
    limited(tenant, warmup_stage=1, warmup_daily_limit=2)
    told = throttled(tenant.submit)
    assert told["warmup_stage"]
    assert (told["daily_sent"], told["daily_limit"]) == (2, 2)
    assert told["hint"]


@pytest.mark.proves("contract 12")
def test_empty_body_with_a_json_type_is_accepted(tenant):
    sent = tenant.held()
    hook = tenant.subscribe("message.sent")
    assert tenant.call("GET", "/v1/mailboxes", headers=JSON).status_code == 200
    assert tenant.call("GET", f"{tenant.base}/emails/{sent['id']}", headers=JSON).status_code == 200
    assert tenant.call("POST", f"{tenant.base}/emails/{sent['id']}/cancel", headers=JSON).status_code == 200
    assert tenant.call("DELETE", f"/v1/webhooks/{hook['id']}", key="admin", headers=JSON).status_code == 200


@pytest.mark.proves("contract 12")
@pytest.mark.parametrize("body", ["{", '{"to": }', "[]", '"text"', "null", "7", "{'a': 1}", b"\xff\xfe"])
def test_body_that_is_no_json_object_is_400(shared, body):
    for path, key in (
        (f"{shared.base}/send", "agent"),
        ("/send_email", "agent"),
        ("/v1/oversight/decide", "oversight"),
    ):
        assert ok(shared.call("POST", path, key=key, data=body, headers=JSON), 400)["error"]


@pytest.mark.proves("contract 12")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("to", []), ("to", "nobody"), ("to", 7), ("to", ["a@x.example"] * 1 + ["b"]), ("cc", ["b"]), ("bcc", "b")),
        *(("subject", None), ("subject", "x" * 999), ("subject", 7), ("markdown", None), ("markdown", "x" * 262_145)),
        *(("send_at", "tomorrow"), ("send_at", "2020-01-01T00:00:00Z"), ("send_at", "2099-01-01T00:00:00+02:00")),
        *(("gate_timing", "never"), ("oversight_mode", "none"), ("metadata", "text"), ("attachments", [{"name": "x"}])),
        *(("idempotency_key", "x" * 201), ("to", [f"{n}@x.example" for n in range(51)])),
    ],
)
def test_bad_field_is_422_and_stores_nothing(tenant, field, value):
    body = {"to": ["a@x.example"], "subject": unique("Bad"), "markdown": "Hello", field: value}
    assert ok(tenant.call("POST", f"{tenant.base}/send", json=body), 422)["field"].partition(".")[0] == field
    assert tenant.get(f"{tenant.base}/emails")["emails"] == []


@pytest.mark.proves("contract 12")
def test_missing_field_is_422_and_an_unknown_one_is_ignored(tenant):
    assert ok(tenant.call("POST", f"{tenant.base}/send", json={"subject": "x", "markdown": "y"}), 422)["error"]
    assert ok(tenant.call("POST", f"{tenant.base}/send", headers=JSON), 422)["error"]
    assert tenant.submit(mcp_configured=1, nonsense={"a": [1]}).status_code == 202
