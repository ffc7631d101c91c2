"""The requests of MultiMail's clients, in their own shapes."""

import json
from string import Template
from urllib.parse import quote

import pytest

from tests.conformance.tenant import ids_of, ok, unique
from tests.conformance.tool_table import use_tools

JSON = {"Content-Type": "application/json"}


# The requests of the app, below /v1/emails.
ZAPIER = """
GET inbox?mailbox=$address&limit=25    agent    {}     emails.0.id is $received    emails.0.to is $address
GET $received              agent      {}               id is $received
GET inbox                  agent      {}               emails.0.status is read
GET thread/$thread         agent      {}               message_count is 1
POST send                  agent      {$hello, "to": "dana@northwind.example", "subject": "Zap"}
  id as sent    status is queued
POST $received/reply       agent      {$hello}         id as reply    status is queued
POST $received/tag         agent      {"tags": ["seen"]}    tags is ['seen']
GET pending?mailbox=$address    oversight    {}        emails.0.id is $sent    emails.1.id is $reply
POST $sent/decide          oversight  {"decision": "approve", "reason": "As agreed."}    status is approved
PATCH $reply/decide        oversight  {"decision": "reject", "reason": "As agreed."}    status is rejected
POST send                  agent      {"to": "x"}      refused
"""


def test_zapier_app_works_by_its_own_paths(tenant):
    """Point 10."""
    received = tenant.receive()
    known = {
        "address": tenant.address,
        "received": received["id"],
        "thread": received["thread_id"],
        "hello": f'"mailbox": "{tenant.address}", "body": "Hello"',
    }

    def use(request, key, body):
        method, path = Template(request).substitute(known).split(" ")
        headers = {"X-API-Key": tenant.keys[key], **JSON}
        data = json.dumps(body) if body else None
        path = f"/v1/emails/{path}"
        answer = tenant.call(method, path, key=None, headers=headers, data=data)
        return answer.json(), not answer.ok

    use_tools(ZAPIER, known, use)


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
