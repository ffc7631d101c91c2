"""Every tool of the MCP server 0.7.0: what it sends, and what it reads of the answer or promises by its text."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.tenant import ok

M = "/v1/mailboxes/{mailbox}"
TOOLS = {
    "activate_account": "POST /v1/confirm",
    "add_contact": "POST /v1/contacts",
    "apply_upgrade": f"POST {M}/upgrade",
    "cancel_message": f"POST {M}/emails/{{email}}/cancel",
    "cancel_subscription": "POST /v1/billing/cancel",
    "check_inbox": f"GET {M}/emails?status=unread&direction=inbound&has_attachments=true&limit=5",
    "check_suppression": "GET /v1/suppression?limit=20",
    "configure_mailbox": f"PATCH {M}/configure",
    "create_account": "POST /v1/account",
    "create_api_key": "POST /v1/api-keys",
    "create_mailbox": "POST /v1/mailboxes",
    "create_webhook": "POST /v1/webhooks",
    "decide_email": "POST /v1/oversight/decide",
    "delete_account": "DELETE /v1/account",
    "delete_contact": "DELETE /v1/contacts/{contact}",
    "delete_mailbox": f"DELETE {M}",
    "delete_webhook": "DELETE /v1/webhooks/{hook}",
    "download_attachment": f"GET {M}/emails/{{email}}/attachments/a%20b.txt/url",
    "edit_scheduled_email": f"PATCH {M}/emails/{{email}}/schedule",
    "get_account": "GET /v1/account",
    "get_audit_log": "GET /v1/audit-log?limit=5",
    "get_billing_portal": "POST /v1/billing/portal",
    "get_thread": f"GET {M}/threads/{{thread}}",
    "get_usage": "GET /v1/usage?period=summary",
    "list_api_keys": "GET /v1/api-keys",
    "list_mailboxes": "GET /v1/mailboxes",
    "list_pending": "GET /v1/oversight/pending",
    "list_spam": "GET /v1/emails?limit=20",
    "list_webhooks": "GET /v1/webhooks",
    "not_spam": "POST /v1/emails/{email}/not-spam",
    "read_email": f"GET {M}/emails/{{email}}",
    "remove_suppression": "DELETE /v1/suppression/no%2Bone%40northwind.example",
    "reply_email": f"POST {M}/reply/{{email}}",
    "report_spam": "POST /v1/emails/{email}/report-spam",
    "request_challenge": "POST /v1/account/challenge",
    "request_upgrade": f"POST {M}/request-upgrade",
    "resend_confirmation": "POST /v1/account/resend-confirmation",
    "revoke_api_key": "DELETE /v1/api-keys/{made}",
    "schedule_email": f"POST {M}/send",
    "search_contacts": "GET /v1/contacts?q=dana",
    "send_email": f"POST {M}/send",
    "tag_email": f"PUT {M}/emails/{{email}}/tags",
    "update_account": "PATCH /v1/account",
    "update_mailbox": f"PATCH {M}",
    "upgrade_plan": "POST /v1/billing/checkout",
    "wait_for_email": f"GET {M}/emails?since_id={{since}}&status=unread&limit=5&sender=northwind",
}
LISTED = {"id", "from", "to", "subject", "status", "received_at", "has_attachments"}
MAILBOX = {"id", "oversight_mode", "display_name", "auto_cc", "auto_bcc", "default_gate_timing", "signature_block"}
WORK = {"algorithm": "SHA-256", "challenge": "0" * 64, "number": 1, "salt": "s", "signature": "0" * 64}
MESSAGE = {"to": ["dana@northwind.example"], "subject": "M", "markdown": "Hello"}
FILE = {"name": "a b.txt", "content_type": "text/plain", "content_base64": base64.b64encode(b"hello").decode()}


@pytest.fixture
def use(tenant):
    """Return a function that calls as a tool does: always a JSON type, often no body. It records the calls."""

    def call(tool, body=None, status=200, *, key="agent", has=(), **ids):
        method, path = TOOLS[tool].split(" ")
        path = path.format(mailbox=tenant.mailbox, **ids)
        data, headers = json.dumps(body) if body else None, {"Content-Type": "application/json"}
        answer = ok(tenant.call(method, path, key=key, data=data, headers=headers), status)
        assert answer.keys() >= set(has), tool
        call.used.add(tool)
        return answer

    call.used = set()
    return call


def in_an_hour():
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.proves("contract 3")
def test_every_tool_of_the_mcp_server_answers_as_its_text_promises(tenant, use):
    """Point 9."""
    # Mail.
    sent = use("send_email", MESSAGE | {"attachments": [FILE], "idempotency_key": "m-1"}, 202, has=("status",))
    assert use("send_email", MESSAGE | {"idempotency_key": "m-1"})["id"] == sent["id"]
    later = MESSAGE | {"subject": "Later", "send_at": in_an_hour(), "gate_timing": "schedule_first"}
    scheduled = use("schedule_email", later, 202, has=("id", "status", "thread_id"))["id"]
    assert use("edit_scheduled_email", {"subject": "Later still"}, email=scheduled)["id"] == scheduled
    older, received = tenant.receive(), tenant.receive(files={"a b.txt": b"hello"})
    ids = {"email": received["id"]}
    [row] = use("check_inbox", has=("emails",))["emails"]
    assert (row["id"], row.keys() >= LISTED) == (received["id"], True)
    [row] = use("wait_for_email", since=older["id"])["emails"]
    assert row["id"] == received["id"]
    file = use("download_attachment", has=("url", "filename", "content_type", "size_bytes", "expires_in"), **ids)
    assert tenant.call("GET", file["url"], key=None, raw=True).content == b"hello"
    reply = use("reply_email", {"markdown": "Yes"}, 202, has=("id", "status"), **ids)
    has = ("participants", "last_activity", "has_unanswered_inbound")
    assert use("get_thread", thread=received["thread_id"], has=has)["message_count"] == 2
    assert "Where is my order?" in use("read_email", has=("subject", "attachments"), **ids)["markdown"]
    assert use("tag_email", {"tags": {"a": "b"}}, **ids)["tags"] == {"a": "b"}
    for tool, status, listed in (("report_spam", "spam_quarantined", [received["id"]]), ("not_spam", "unread", [])):
        for _ in range(2):
            labelled = use(tool, **ids)
            assert (labelled["id"], labelled["status"]) == (received["id"], status)
        assert [row["id"] for row in use("list_spam")["emails"]] == listed
        assert [row["id"] for row in use("check_inbox")["emails"]] == ([] if listed else [received["id"]])
    assert use("report_spam", None, 409, email=sent["id"])["code"] == "not_received"
    assert use("cancel_message", email=sent["id"])["status"] == "cancelled"
    [waits] = use("list_pending", key="oversight")["pending"]
    assert waits["id"] == reply["id"]
    verdict = {"email_id": reply["id"], "action": "reject", "reason": "Too short."}
    assert use("decide_email", verdict, key="oversight")["status"] == "rejected"

    # The account, and unsupported features.
    contact = use("add_contact", {"name": "Dana", "email": "dana@northwind.example", "tags": ["a"]}, 201)["id"]
    assert [row["id"] for row in use("search_contacts")["contacts"]] == [contact]
    assert use("delete_contact", contact=contact)["deleted"] is True
    account = use("get_account", has=("emails_sent_this_month", "emails_remaining_this_month"))
    assert (account["enforcement_tier"], account["sending_enabled"]) == ("none", True)
    usage = use("get_usage", has=("emails_sent", "emails_received", "storage_used_bytes", "max_storage_bytes"))
    assert (usage["plan"], usage["max_mailboxes"]) == (account["plan"], account["max_mailboxes"])
    assert use("update_account", {"physical_address": "1 Main Street"}, key="admin")["status"] == "updated"
    assert use("get_audit_log", key="admin")["entries"]
    for tool in ("get_billing_portal", "upgrade_plan", "cancel_subscription"):
        assert "there is no billing" in use(tool, None, 501, key="admin")["error"]
    asked = {"code": "SKP-7D2-4V8", "oversight_email": "a@x.example", "operator_name": "Acme", "pow_solution": WORK}
    asked |= dict.fromkeys(("accepted_tos", "accepted_operator_agreement", "accepted_anti_spam_policy"), True)
    for tool in ("request_challenge", "create_account", "activate_account", "resend_confirmation"):
        assert "operator" in use(tool, asked, 501, key=None)["error"]

    # Settings.
    assert [box["id"] for box in use("list_mailboxes")["mailboxes"]] == [tenant.mailbox]
    assert use("update_mailbox", {"auto_cc": None, "ai_disclosure": False}, key="admin")["status"] == "updated"
    assert use("update_mailbox", {"forward_inbound": True}, key="admin")["forward_inbound"] == 1
    flags = {"mcp_configured": 1, "ai_disclosure": 1, "scheduling_enabled": 1, "auto_cc": "cee@northwind.example"}
    flags |= {"signature_block": "-- Desk", "default_gate_timing": "gate_first"}
    use("configure_mailbox", flags, key="admin")
    shown = tenant.get(tenant.base)
    assert ({name: shown[name] for name in flags}, shown.keys() >= MAILBOX) == (flags, True)
    assert use("request_upgrade", {"target_mode": "monitored"}, key="admin")["status"] == "upgrade_requested"
    code = tenant.get("/v1/upgrade-requests", key="admin")["requests"][0]["code"]
    assert use("apply_upgrade", {"code": code}, key="admin")["status"] == "upgraded"
    key = use("create_api_key", {"name": "K", "scopes": ["read"]}, 201, key="admin", has=("api_key",))["id"]
    both = use("create_api_key", {"name": "K", "scopes": ["send", "oversight"]}, 422, key="admin")
    assert "Create two" in both["error"]
    assert {row["id"]: row["name"] for row in use("list_api_keys", key="admin")["api_keys"]}[key] == "K"
    assert use("revoke_api_key", key="admin", made=key)["status"] == "revoked"
    box = use("create_mailbox", {"address_local": "desk", "display_name": "Desk"}, 201, key="admin", has=("id",))["id"]
    assert not tenant.get(f"/v1/mailboxes/{box}", key="admin")["mcp_configured"], "the server asks for set-up then"
    hook = {"url": tenant.gateway.hooks.origin + "/mcp", "events": ["message.received", "oversight.pending"]}
    hook_id = use("create_webhook", hook, 201, key="admin")["id"]
    assert [row["id"] for row in use("list_webhooks", key="admin")["webhooks"]] == [hook_id]
    assert use("delete_webhook", key="admin", hook=hook_id)["status"] == "deleted"

    # Permanent deletions.
    tenant.gateway.mail.refuse["no+one@northwind.example"] = "550 no such user"
    tenant.decide(tenant.send(to=["no+one@northwind.example"])["id"], "approve")
    tenant.wait(lambda: use("check_suppression")["suppressions"], "a suppression")
    assert use("remove_suppression", key="admin")["status"] == "removed"
    assert use("delete_mailbox", key="admin")["status"] == "deleted"
    assert use("delete_account", key="admin")["status"] == "deleted"
    assert TOOLS.keys() == use.used
