"""Lines 3, 5 and 6 of the contract's checklist: the requests of MultiMail's clients and pages, in their own shapes."""

import base64
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.tenant import ok, unique

JSON = {"Content-Type": "application/json"}


def mcp(tenant, method, path, body=None, key="admin"):
    """As the MCP server sends: always a JSON type, and often no body."""
    return tenant.call(method, path, key=key, data=json.dumps(body) if body else None, headers=JSON)


def in_an_hour():
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.proves("contract 3")
def test_mcp_tools_of_messages_get_content(tenant):
    base = tenant.base
    body = {"to": ["dana@northwind.example"], "subject": "M", "markdown": "Hello", "idempotency_key": "m-1"}
    sent = ok(mcp(tenant, "POST", f"{base}/send", body, "agent"), 202)
    later = body | {"send_at": in_an_hour(), "gate_timing": "schedule_first", "idempotency_key": "m-2"}
    scheduled = ok(mcp(tenant, "POST", f"{base}/send", later, "agent"), 202)
    edited = mcp(tenant, "PATCH", f"{base}/emails/{scheduled['id']}/schedule", {"subject": "M later"}, "agent")
    assert ok(edited)["id"] == scheduled["id"]
    older, received = tenant.receive(), tenant.receive()
    newest = f"{base}/emails?since_id={older['id']}&status=unread&limit=5"
    assert [row["id"] for row in ok(mcp(tenant, "GET", newest, key="agent"))["emails"]] == [received["id"]]
    reply = mcp(tenant, "POST", f"{base}/reply/{received['id']}", {"markdown": "Yes", "idempotency_key": "m"}, "agent")
    assert ok(reply, 202)["thread_id"] == received["thread_id"]
    assert (
        ok(mcp(tenant, "GET", f"{base}/emails?limit=5&status=unread", key="agent"))["emails"][0]["id"] == received["id"]
    )
    assert ok(mcp(tenant, "GET", f"{base}/threads/{received['thread_id']}", key="agent"))["message_count"] == 2
    assert "Where is my order?" in ok(mcp(tenant, "GET", f"{base}/emails/{received['id']}", key="agent"))["markdown"]
    tagged = mcp(tenant, "PUT", f"{base}/emails/{received['id']}/tags", {"tags": {"a": "b"}}, "agent")
    assert ok(tagged)["tags"] == {"a": "b"}
    assert ok(mcp(tenant, "GET", f"{base}/emails/{received['id']}/tags", key="agent"))["tags"] == {"a": "b"}
    assert ok(mcp(tenant, "DELETE", f"{base}/emails/{received['id']}/tags/a", key="agent"))["deleted"] is True
    cancelled = mcp(tenant, "POST", f"{base}/emails/{sent['id']}/cancel", key="agent")
    assert ok(cancelled)["status"] == "cancelled"
    pending = ok(mcp(tenant, "GET", "/v1/oversight/pending", key="oversight"))["pending"]
    assert [row["id"] for row in pending] == [reply.json()["id"]]
    body = {"email_id": reply.json()["id"], "action": "reject"}
    assert ok(mcp(tenant, "POST", "/v1/oversight/decide", body, "oversight"))["status"] == "rejected"


@pytest.mark.proves("contract 3")
def test_mcp_finds_its_setup_noted_after_configuring(tenant):
    made = ok(mcp(tenant, "POST", "/v1/mailboxes", {"address_local": "desk", "display_name": "Desk"}), 201)
    path = f"/v1/mailboxes/{made['id']}"
    assert not ok(mcp(tenant, "GET", path))["mcp_configured"]
    flags = {"mcp_configured": 1, "ai_disclosure": 1, "forward_inbound": 0, "scheduling_enabled": 1}
    flags |= {"auto_cc": "cee@northwind.example", "signature_block": "-- Desk", "default_gate_timing": "gate_first"}
    ok(mcp(tenant, "PATCH", f"{path}/configure", flags))
    shown = ok(mcp(tenant, "GET", path))
    assert {name: shown[name] for name in flags} == flags
    assert ok(mcp(tenant, "PATCH", path, {"auto_cc": None, "ai_disclosure": False}))["status"] == "updated"
    assert ok(mcp(tenant, "GET", path))["auto_cc"] is None


@pytest.mark.proves("contract 3")
def test_mcp_tools_of_an_account_get_content(tenant):
    assert ok(mcp(tenant, "GET", "/v1/account"))["account"]["name"]
    assert ok(mcp(tenant, "PATCH", "/v1/account", {"physical_address": "1 Main Street"}))["status"] == "updated"
    for period in ("summary", "daily"):
        assert ok(mcp(tenant, "GET", f"/v1/usage?period={period}"))["emails_sent"] == 0
    assert ok(mcp(tenant, "GET", "/v1/audit-log?limit=5"))["entries"]
    assert ok(mcp(tenant, "GET", "/v1/suppression?limit=5"))["suppressions"] == []
    key = ok(mcp(tenant, "POST", "/v1/api-keys", {"name": "K", "scopes": ["read"]}), 201)
    assert ok(mcp(tenant, "PATCH", f"/v1/api-keys/{key['id']}", {"name": "L"}))["status"] == "updated"
    names = {row["id"]: row["name"] for row in ok(mcp(tenant, "GET", "/v1/api-keys"))["api_keys"]}
    assert names[key["id"]] == "L"


@pytest.mark.proves("contract 3")
def test_mcp_tools_that_delete_get_content(tenant):
    contact = ok(
        mcp(tenant, "POST", "/v1/contacts", {"name": "D", "email": "d@x.example", "tags": ["a"]}, "agent"), 201
    )
    assert ok(mcp(tenant, "DELETE", f"/v1/contacts/{contact['id']}"))["deleted"] is True
    key = ok(mcp(tenant, "POST", "/v1/api-keys", {"name": "K", "scopes": ["read"]}), 201)
    assert ok(mcp(tenant, "DELETE", f"/v1/api-keys/{key['id']}"))["status"] == "revoked"
    hook = tenant.subscribe("message.sent")
    assert ok(mcp(tenant, "DELETE", f"/v1/webhooks/{hook['id']}"))["status"] == "deleted"
    tenant.gateway.mail.refuse["no+one@northwind.example"] = "550 no such user"
    tenant.decide(tenant.send(to=["no+one@northwind.example"])["id"], "approve")
    tenant.wait(lambda: tenant.get("/v1/suppression", key="admin")["suppressions"], "a suppression")
    assert ok(mcp(tenant, "DELETE", "/v1/suppression/no%2Bone%40northwind.example"))["status"] == "removed"
    assert ok(mcp(tenant, "DELETE", tenant.base))["status"] == "deleted"
    assert ok(mcp(tenant, "DELETE", "/v1/account"))["status"] == "deleted"


@pytest.mark.proves("contract 3")
def test_mcp_downloads_and_upgrades(tenant):
    file = {"name": "a b.txt", "content_type": "text/plain", "content_base64": base64.b64encode(b"hello").decode()}
    sent = tenant.send(attachments=[file])
    path = f"{tenant.base}/emails/{sent['id']}/attachments/a%20b.txt"
    assert isinstance(ok(mcp(tenant, "GET", f"{path}/url", key="agent"))["size_bytes"], int)
    assert tenant.call("GET", path, headers=JSON, raw=True).content == b"hello"
    assert mcp(tenant, "GET", f"{path}x/url", key="agent").status_code == 404
    wish = {"target_mode": "monitored"}
    assert ok(mcp(tenant, "POST", f"{tenant.base}/request-upgrade", wish))["status"] == "upgrade_requested"
    code = tenant.get("/v1/upgrade-requests", key="admin")["requests"][0]["code"]
    assert ok(mcp(tenant, "POST", f"{tenant.base}/upgrade", {"code": code}))["status"] == "upgraded"


@pytest.mark.proves("contract 5")
@pytest.mark.parametrize("prefix", [pytest.param("", marks=pytest.mark.slow), "/v1"])
def test_discord_page_requests_work(tenant, prefix):
    received = tenant.receive()
    told = {"discord_user": "ana#1", "discord_channel": "outreach"}
    body = {"from": tenant.address, "to": "dana@northwind.example", "subject": "S0", "body": "Hello"}
    body |= {"oversight_mode": "gated_send", "metadata": told}
    sent = ok(tenant.call("POST", f"{prefix}/send_email", json=body), 202)
    assert sent["status"] == "queued"
    assert sent["message_id"]
    inbox = tenant.get(f"{prefix}/check_inbox", mailbox=tenant.address, unread="true", limit="5")["emails"]
    assert [(row["subject"], row["from"]) for row in inbox] == [(received["subject"], "dana@northwind.example")]
    assert datetime.fromisoformat(inbox[0]["received_at"]).tzinfo
    answer = {"thread_id": inbox[0]["thread_id"], "body": "Soon", "oversight_mode": "gated_send", "metadata": told}
    reply = ok(tenant.call("POST", f"{prefix}/reply_email", json=answer), 202)
    assert (reply["status"], reply["thread_id"]) == ("queued", received["thread_id"])
    rows = {row["id"]: row for row in tenant.pending()}
    assert rows[reply["message_id"]]["to_addresses"] == ["dana@northwind.example"]
    assert [rows[one["message_id"]]["metadata"] for one in (sent, reply)] == [told, told]
    failed = tenant.call("POST", f"{prefix}/send_email", json=body | {"to": "nobody"})
    assert ok(failed, 422)["error"]


@pytest.mark.proves("contract 5")
@pytest.mark.parametrize("prefix", ["", pytest.param("/v1", marks=pytest.mark.slow)])
def test_inngest_page_requests_work(tenant, prefix):
    received = tenant.receive(subject=unique("Refund"))
    hook = tenant.subscribe("email.decided")
    body = {"from": tenant.address, "to": "dana@northwind.example", "subject": "S2", "text": "Hello"}
    sent = ok(tenant.call("POST", f"{prefix}/send_email", json=body, headers={"Idempotency-Key": "run-1"}), 202)
    again = ok(tenant.call("POST", f"{prefix}/send_email", json=body, headers={"Idempotency-Key": "run-1"}))
    assert (again["id"], again["status"]) == (sent["id"], "queued")
    waiting = tenant.get(f"{prefix}/list_pending", key="oversight", mailbox=tenant.address)["messages"]
    assert [(row["subject"], row["to"]) for row in waiting] == [("S2", "dana@northwind.example")]
    unread = tenant.get(f"{prefix}/check_inbox", mailbox=tenant.address)["emails"]
    assert [row["id"] for row in unread] == [received["id"]]
    assert tenant.get(f"{prefix}/read_email", id=received["id"])["subject"].lower().startswith("refund")
    tagged = ok(tenant.call("POST", f"{prefix}/tag_email", json={"id": received["id"], "tags": ["refund", "seen"]}))
    assert (tagged["id"], sorted(tagged["tags"])) == (received["id"], ["refund", "seen"])
    decision = {"message_id": sent["id"], "decision": "approve"}
    assert ok(tenant.call("POST", f"{prefix}/decide_email", key="oversight", json=decision))["status"] == "approved"
    event = tenant.wait_for_events(hook)[0].body
    assert (event["message_id"], event["decision"]) == (sent["id"], "approved")


# Contract section 10: what these services call, with the key in a header of its own and no other.
SEARCHES = (
    "/v1/mailboxes",
    "{m}/emails?limit=1",
    "{m}/emails?subject_contains=order&sender=northwind",
    "{m}/threads/{t}",
    "{m}/emails/{e}/tags",
    "/v1/contacts?query=dana",
)


@pytest.mark.proves("contract 4")
def test_automation_clients_pass_with_x_api_key_alone(tenant):
    received = tenant.receive(subject="Where is my order")

    def call(method, path, body=None):
        path = path.format(m=tenant.base, e=received["id"], t=received["thread_id"])
        headers = {"X-API-Key": tenant.keys["agent"]}
        return tenant.call(method, path, key=None, headers=headers, **({"json": body} if body else {}))

    assert ok(call("GET", "/v1/account"))["account"]["name"], "the test of the connection"
    letter = {"to": ["dana@northwind.example"], "subject": "Zap", "markdown": "Hello"}
    contact = ok(call("POST", "/v1/contacts", {"name": "Dana", "email": "dana@northwind.example"}), 201)
    sent = ok(call("POST", "{m}/send", letter | {"idempotency_key": "zap-1"}), 202)
    reply = ok(call("POST", "{m}/reply/{e}", {"markdown": "It is on its way"}), 202)
    assert ok(call("PUT", "{m}/emails/{e}/tags", {"tags": {"seen": "yes"}}))["tags"] == {"seen": "yes"}
    found = [ok(call("GET", path)) for path in SEARCHES]
    assert [row["id"] for row in found[0]["mailboxes"]] == [tenant.mailbox]
    assert [row["id"] for row in found[1]["emails"]] == [reply["id"]], "what a trigger asks for: the newest"
    assert [row["id"] for row in found[2]["emails"]] == [received["id"]]
    assert [row["id"] for row in found[3]["emails"]] == [received["id"], reply["id"]]
    assert found[4]["tags"] == {"seen": "yes"}
    assert [row["id"] for row in found[5]["contacts"]] == [contact["id"]]
    assert tenant.status(sent["id"]) == "pending_send_approval"


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
UNKNOWN = (
    *("/", "/v1", "/v1/", "/v2/account", "/nothing", "/v1/nothing", "/admin/", "/accounts/login/", "/%00", "/v1/%ff"),
    *("/v1/mailboxes/", "/v1/account/", "/send_email/", "/v1//account", "/health/", "/v1/x/../account"),
    *("/v1/emails", "/v1/emails/send", "/v1/emails/inbox", "/v1/emails/x/report-spam", "/v1/billing/portal"),
    *("/v1/account/challenge", "/v1/confirm", "/v1/slug-check/x", "/v1/export", "/.well-known/agent/x@y.example"),
)


@pytest.mark.proves("contract 6")
@pytest.mark.parametrize("some", [METHODS[:2], pytest.param(METHODS[2:], marks=pytest.mark.slow)])
def test_every_path_answers_json_to_every_method(tenant, some):
    # `call` fails on 204, a redirect, HTML, an empty body and an error without a text.
    document = tenant.gateway.call("GET", "/openapi.json").json()
    paths = [path.replace("{", "").replace("}", "") for path in document["paths"]]
    for path, method in itertools.product((*paths, *UNKNOWN), some):
        for key in ("agent", None) if method == "GET" else ("agent",):
            tenant.call(method, path, key=key, headers=JSON)
    assert tenant.call("PUT", "/v1/account").status_code == 405
    assert tenant.call("GET", "/v1/send_email").status_code == 405
    assert tenant.call("GET", "/v1/nothing").status_code == 404
    assert tenant.call("GET", "/v1/account/").status_code == 404
    assert tenant.call("GET", "/v1/billing/portal").status_code in (404, 501)
