"""The requests of MultiMail's clients, in their own shapes."""

import json
from urllib.parse import quote

import pytest

from tests.conformance.tenant import ids_of, ok, unique

JSON = {"Content-Type": "application/json"}


def test_zapier_app_works_by_its_own_paths(tenant):
    """Point 10."""
    received = tenant.receive(subject=unique("Order"))

    def call(method, path, body=None, key="agent", status=200):
        headers = {"X-API-Key": tenant.keys[key], **JSON}
        data = json.dumps(body) if body else None
        path = f"/v1/emails/{path}"
        answer = tenant.call(method, path, key=None, headers=headers, data=data)
        return ok(answer, status)

    rows = call("GET", f"inbox?mailbox={tenant.address}&limit=25")["emails"]
    assert [(row["id"], row["to"]) for row in rows] == [
        (received["id"], tenant.address)
    ], "its trigger: newest first"
    assert "Where is my order?" in call("GET", received["id"])["body"]
    assert call("GET", "inbox")["emails"][0]["status"] == "read"
    assert call("GET", f"thread/{received['thread_id']}")["message_count"] == 1
    body = {"mailbox": tenant.address, "body": "Hello"}
    message = body | {"to": "dana@northwind.example", "subject": unique("Zap")}
    sent = call("POST", "send", message, status=202)
    reply = call("POST", f"{received['id']}/reply", body, status=202)
    assert (sent["status"], reply["status"]) == ("queued", "queued")
    tagged = call("POST", f"{received['id']}/tag", {"tags": ["seen"]})
    assert tagged["tags"] == ["seen"]
    waiting = call("GET", f"pending?mailbox={tenant.address}", key="oversight")
    assert set(ids_of(waiting["emails"])) == {sent["id"], reply["id"]}
    for method, one, decision, status in (
        ("POST", sent, "approve", "approved"),
        ("PATCH", reply, "reject", "rejected"),
    ):
        body = {"decision": decision, "reason": "As agreed."}
        decided = call(method, f"{one['id']}/decide", body, key="oversight")
        assert decided["status"] == status
    call("POST", "send", {"to": "x"}, status=422)


FIRST = {"to": ["dana@northwind.example"], "markdown": "Hello **Dana**"}
LATER = FIRST | {"bcc": ["bea@northwind.example"]}
ONE_PATH = {"to": "dana@northwind.example", "body": "Hello"}
PRINTED = {"to": ["dana@northwind.example"], "text_body": "Hello"}
FETCH = {"Sec-Fetch-Mode": "cors"}
MCP = {"Mcp-Protocol-Version": "2026-07-28"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "held", "otherwise"),
    [
        # The page on Glama, MultiMail's MCP server 0.1, against 0.7.0, the SDK and curl.
        ("{box}/send", FIRST, FETCH, "pending_approval", "pending_scan"),
        ("{box}/send", LATER, FETCH, "pending_scan", "pending_scan"),
        ("{box}/send", FIRST, {}, "pending_scan", "pending_scan"),
        # A tool of /mcp, by the header that its client sends.
        ("{box}/send", LATER, MCP, "pending_approval", "pending_scan"),
        # The pages on Discord and Inngest, and Zapier's app.
        ("/v1/send_email", ONE_PATH, FETCH, "queued", "queued"),
        ("/send_email", ONE_PATH, FETCH, "queued", "queued"),
        ("/v1/emails/send", ONE_PATH, FETCH, "queued", "queued"),
        # The page on deployment alerts.
        ("/v1/send", PRINTED, {}, "pending", "queued"),
    ],
)  # fmt: skip
def test_first_status_is_the_word_of_the_clients_page(
    make_tenant, path, body, headers, held, otherwise
):
    for mode, word in (("gated_send", held), ("autonomous", otherwise)):
        tenant = make_tenant(mode)
        message = body | {"subject": unique("Word")}
        if "{box}" not in path:
            message["from"] = tenant.address
        at = path.format(box=tenant.base)
        sent = ok(tenant.call("POST", at, json=message, headers=headers), 202)
        assert sent["status"] == word
        assert sent["message_id"] == sent["id"]


def test_identity_of_an_address_is_told_without_a_key(make_tenant):
    """The tool search_identity of the page on Glama."""
    for mode, capabilities in (
        ("gated_all", ["receive", "send"]),
        ("read_only", ["receive"]),
    ):
        tenant = make_tenant(mode)
        # As the tool writes it.
        path = f"/.well-known/agent/{quote(tenant.address, safe='')}"
        assert ok(tenant.call("GET", path, key=None)) == {
            "address": tenant.address,
            "operator": tenant.get("/v1/account")["name"],
            "operator_verified": True,
            "oversight_mode": mode,
            "capabilities": capabilities,
        }
    path = f"/v1/mailboxes/{tenant.mailbox}"
    ok(tenant.call("DELETE", path, key="admin"))
    for address in (tenant.address, "x@y.example", "no address", "@", "x" * 5000):
        refused = tenant.call("GET", f"/.well-known/agent/{address}", key=None)
        assert ok(refused, 404)["code"] == "unknown_mailbox"


@pytest.mark.parametrize("key", ["agent", "sandbox agent"])
def test_one_key_of_an_account_does_what_the_pages_programs_do(tenant, key):
    """With one key for everything, as their pages have it, and keys as they are made by
    gateway_account. The digest lists what waits.
    """
    message = {"from": tenant.address, "subject": unique("Page"), **ONE_PATH}
    sent = ok(tenant.call("POST", "/send_email", key=key, json=message), 202)
    query = f"mailbox={quote(tenant.address)}"
    for headers in ({}, JSON):
        pending = tenant.call("GET", f"/list_pending?{query}", key=key, headers=headers)
        assert ids_of(ok(pending)["messages"]) == [sent["id"]]
        inbox = f"/check_inbox?{query}&unread=true&limit=50"
        assert ok(tenant.call("GET", inbox, key=key, headers=headers))["emails"] == []
    verdict = {"message_id": sent["id"], "action": "approve"}
    refused = tenant.call("POST", "/decide_email", key=key, json=verdict)
    assert ok(refused, 403)["code"] == "missing_scope"
