"""Every request of MultiMail's MCP server (docs/mcp-tools.md): what it sends, and what
it reads of the answer.
"""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.models import ApprovalRequest
from tests.conformance.tenant import ids_of, ok

PAGE = Path(__file__).parents[2] / "docs/mcp-tools.md"


def words_of(cell):
    return re.findall(r"`([^`]+)`", cell)


def rows():
    """Return the requests of the page: the request, its tools in 0.7.0 and in 0.13.0,
    its body, and the answer.
    """
    lines = PAGE.read_text().split("|---|\n")[1].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


LISTED = {"id", "from", "to", "subject", "status", "received_at", "has_attachments"}
MAILBOX = {
    "id",
    "oversight_mode",
    "display_name",
    "auto_cc",
    "auto_bcc",
    "default_gate_timing",
    "signature_block",
}
WORK = {
    "algorithm": "SHA-256",
    "challenge": "0" * 64,
    "number": 1,
    "salt": "s",
    "signature": "0" * 64,
}
MESSAGE = {"to": ["dana@northwind.example"], "subject": "M", "markdown": "Hello"}
NEEDED = {"request_challenge": ["oversight_email"], "activate_account": ["code"]}
NEEDED |= {"resend_confirmation": ["oversight_email"]}
FILE = {
    "name": "a b.txt",
    "content_type": "text/plain",
    "content_base64": base64.b64encode(b"hello").decode(),
}


@pytest.fixture
def use(tenant):
    """Return a function that calls as a tool does: always a JSON type, often no body.
    It records the requests.
    """
    by_tool = {}
    for row in rows():
        for tool in words_of(row[1]) + words_of(row[2]):
            by_tool.setdefault(tool, row)

    def call(tool, body=None, status=200, *, key="agent", **ids):
        request, _, _, known, wanted = by_tool[tool]
        method, path = (
            words_of(request)[0].format(mailbox=tenant.base, **ids).split(" ")
        )
        assert known == "any" or set(body or ()) <= set(words_of(known)), tool
        data = json.dumps(body) if body else None
        headers = {"Content-Type": "application/json"}
        answer = ok(
            tenant.call(method, path, key=key, data=data, headers=headers), status
        )
        if status in (200, 201, 202) and answer.get("code") != "pending_approval":
            assert answer.keys() >= set(words_of(wanted)), tool
        call.used.add(request)
        return answer

    call.used = set()
    return call


def in_an_hour():
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_every_tool_of_the_mcp_server_answers_as_its_text_promises(tenant, use):
    """Point 9."""
    # Mail.
    sent = use(
        "send_email",
        MESSAGE | {"attachments": [FILE], "idempotency_key": "m-1", "ucan": "a.b.c"},
        202,
    )
    assert use("send_email", MESSAGE | {"idempotency_key": "m-1"})["id"] == sent["id"]
    later = MESSAGE | {
        "subject": "Later",
        "send_at": in_an_hour(),
        "gate_timing": "schedule_first",
    }
    scheduled = use("schedule_email", later, 202)["id"]
    assert (
        use("edit_scheduled_email", {"subject": "Later still"}, email=scheduled)["id"]
        == scheduled
    )
    older = tenant.receive()
    received = tenant.receive(files={"a b.txt": b"hello"})
    ids = {"email": received["id"]}
    [row] = use("check_inbox")["emails"]
    assert row["id"] == received["id"]
    assert row.keys() >= LISTED
    [row] = use("wait_for_email", since=older["id"])["emails"]
    assert row["id"] == received["id"]
    file = use("download_attachment", **ids)
    assert tenant.call("GET", file["url"], key=None, raw=True).content == b"hello"
    reply = use("reply_email", {"markdown": "Yes"}, 202, **ids)
    assert use("get_thread", thread=received["thread_id"])["message_count"] == 2
    assert "Where is my order?" in use("read_email", **ids)["markdown"]
    for tool, body in (("set_tags", {"tags": {"a": "b"}}), ("get_tags", None)):
        assert use(tool, body, **ids)["tags"] == {"a": "b"}
    assert use("delete_tag", **ids)["deleted"] is True
    for tool, status, listed in (
        ("report_spam", "spam_quarantined", [received["id"]]),
        ("not_spam", "unread", []),
    ):
        for _ in range(2):
            labelled = use(tool, **ids)
            assert labelled["id"] == received["id"]
            assert labelled["status"] == status
        assert ids_of(use("list_spam")["emails"]) == listed
        assert ids_of(use("check_inbox")["emails"]) == (
            [] if listed else [received["id"]]
        )
    assert use("report_spam", None, 409, email=sent["id"])["code"] == "not_received"
    assert use("cancel_message", email=sent["id"])["status"] == "cancelled"
    [waits] = use("list_pending", key="oversight")["pending"]
    assert waits["id"] == reply["id"]
    verdict = {"email_id": reply["id"], "action": "reject", "reason": "Too short."}
    assert use("decide_email", verdict, key="oversight")["status"] == "rejected"

    # The account, and unsupported features.
    contact = use(
        "add_contact",
        {"name": "Dana", "email": "dana@northwind.example", "tags": ["a"]},
        201,
    )["id"]
    assert ids_of(use("search_contacts")["contacts"]) == [contact]
    assert use("delete_contact", contact=contact)["deleted"] is True
    account = use("get_account")
    assert account["enforcement_tier"] == "none"
    assert account["sending_enabled"] is True
    usage = use("get_usage")
    assert usage["plan"] == account["plan"]
    assert usage["max_mailboxes"] == account["max_mailboxes"]
    assert (
        use("update_account", {"physical_address": "1 Main Street"}, key="admin")[
            "status"
        ]
        == "updated"
    )
    assert use("get_audit_log", key="admin")["entries"]
    for tool in ("get_billing_portal", "upgrade_plan", "cancel_subscription"):
        assert "there is no billing" in use(tool, None, 501, key="admin")["error"]
    assert (
        use("report_issue", {"category": "bug", "description": "slow"}, 201)["status"]
        == "received"
    )
    asked = {
        "code": "SKP-7D2-4V8",
        "oversight_email": "a@x.example",
        "operator_name": "Acme",
        "pow_solution": WORK,
    }
    asked |= dict.fromkeys(
        ("accepted_tos", "accepted_operator_agreement", "accepted_anti_spam_policy"),
        True,
    )
    for tool in (
        "request_challenge",
        "create_account",
        "activate_account",
        "resend_confirmation",
    ):
        body = {
            name: value
            for name, value in asked.items()
            if tool == "create_account" or name in NEEDED[tool]
        }
        assert "operator" in use(tool, body, 501, key=None)["error"]

    # Settings.
    assert ids_of(use("list_mailboxes")["mailboxes"]) == [tenant.mailbox]
    assert (
        use("update_mailbox", {"forward_inbound": True}, key="admin")["forward_inbound"]
        == 1
    )
    assert (
        use("update_mailbox", {"auto_cc": None, "ai_disclosure": True}, key="admin")[
            "status"
        ]
        == "updated"
    )
    assert (
        "cannot be switched off"
        in use("update_mailbox", {"ai_disclosure": False}, 400, key="admin")["error"]
    )
    flags = {
        "mcp_configured": 1,
        "ai_disclosure": 1,
        "scheduling_enabled": 1,
        "auto_cc": "cee@northwind.example",
    }
    flags |= {"signature_block": "-- Desk", "default_gate_timing": "gate_first"}
    use("configure_mailbox", flags, key="admin")
    shown = tenant.get(tenant.base)
    assert {name: shown[name] for name in flags} == flags
    assert shown.keys() >= MAILBOX
    assert (
        use("request_upgrade", {"target_mode": "monitored"}, key="admin")["status"]
        == "upgrade_requested"
    )
    code = tenant.get("/v1/upgrade-requests", key="admin")["requests"][0]["code"]
    assert use("apply_upgrade", {"code": code}, key="admin")["status"] == "upgraded"
    entry = {"pattern": "*@northwind.example", "note": "Customer"}
    assert (
        use("add_allowlist_entry", entry, 202, key="admin")["status"]
        == "pending_approval"
    )
    entry |= {
        "approval_code": ApprovalRequest.objects.filter(account=tenant.account)
        .latest("id")
        .code
    }
    added = use("add_allowlist_entry", entry, 201, key="admin")["id"]
    assert [row["pattern"] for row in use("list_allowlist")["entries"]] == [
        "*@northwind.example"
    ]
    assert (
        use("remove_allowlist_entry", key="admin", entry=added)["status"] == "removed"
    )
    key = use("create_api_key", {"name": "K", "scopes": ["read"]}, 201, key="admin")[
        "id"
    ]
    both = use(
        "create_api_key",
        {"name": "K", "scopes": ["send", "oversight"]},
        422,
        key="admin",
    )
    assert "Create two" in both["error"]
    assert {
        row["id"]: row["name"] for row in use("list_api_keys", key="admin")["api_keys"]
    }[key] == "K"
    assert use("revoke_api_key", key="admin", made=key)["status"] == "revoked"
    box = use(
        "create_mailbox",
        {"address_local": "desk", "display_name": "Desk"},
        201,
        key="admin",
    )["id"]
    assert not tenant.get(f"/v1/mailboxes/{box}", key="admin")["mcp_configured"], (
        "the server asks for set-up then"
    )
    hook = {
        "url": tenant.gateway.hooks.url + "/mcp",
        "events": ["message.received", "oversight.pending"],
    }
    hook_id = use("create_webhook", hook, 201, key="admin")["id"]
    assert ids_of(use("list_webhooks", key="admin")["webhooks"]) == [hook_id]
    assert use("delete_webhook", key="admin", hook=hook_id)["status"] == "deleted"

    # Permanent deletions.
    tenant.gateway.mail.refuse["no+one@northwind.example"] = "550 no such user"
    tenant.decide(tenant.send(to=["no+one@northwind.example"])["id"], "approve")
    tenant.wait(lambda: use("check_suppression")["suppressions"], "a suppression")
    assert use("remove_suppression", key="admin")["status"] == "removed"
    assert use("delete_mailbox", key="admin")["status"] == "deleted"
    assert use("delete_account", key="admin")["status"] == "deleted"
    assert {row[0] for row in rows()} == use.used | {"none"}


def test_page_has_every_tool_of_both_versions():
    old, new = (
        {tool for row in rows() for tool in words_of(row[column])} for column in (1, 2)
    )
    assert len(old) == 46
    assert len(new) == 50
