"""Every request of MultiMail's MCP server (docs/mcp-tools.md): what it sends, and what
it reads of the answer.
"""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.mcp.catalog import catalog as entries
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
SIGN_UP = (
    "request_challenge",
    "create_account",
    "activate_account",
    "resend_confirmation",
)
MESSAGE = {"to": ["dana@northwind.example"], "subject": "M", "markdown": "Hello"}
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


def test_every_tool_of_the_mcp_server_answers_as_its_text_promises(tenant, use):
    """Point 9."""
    # Mail.
    sent = use(
        "send_email",
        MESSAGE | {"attachments": [FILE], "idempotency_key": "m-1", "ucan": "a.b.c"},
        202,
    )
    assert use("send_email", MESSAGE | {"idempotency_key": "m-1"})["id"] == sent["id"]
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).strftime("%FT%TZ")
    at = {"send_at": in_an_hour, "gate_timing": "schedule_first"}
    later = MESSAGE | at | {"subject": "Later"}
    scheduled = use("schedule_email", later, 202)["id"]
    use("edit_scheduled_email", {"subject": "Later still"}, email=scheduled)
    older = tenant.receive()
    received = tenant.receive(files={"a b.txt": b"hello"})
    ids = {"email": received["id"]}
    [row] = use("check_inbox")["emails"]
    assert row["id"] == received["id"]
    assert row.keys() >= LISTED
    assert ids_of(use("wait_for_email", since=older["id"])["emails"]) == [row["id"]]
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
        assert use(tool, **ids)["status"] == status
        assert ids_of(use("list_spam")["emails"]) == listed
    assert use("cancel_message", email=sent["id"])["status"] == "cancelled"
    [waits] = use("list_pending", key="oversight")["pending"]
    assert waits["id"] == reply["id"]
    verdict = {"email_id": reply["id"], "action": "reject", "reason": "Too short."}
    assert use("decide_email", verdict, key="oversight")["status"] == "rejected"

    # The account, and unsupported features.
    dana = {"name": "Dana", "email": "dana@northwind.example", "tags": ["a"]}
    contact = use("add_contact", dana, 201)["id"]
    assert ids_of(use("search_contacts")["contacts"]) == [contact]
    use("delete_contact", contact=contact)
    use("get_account")
    use("get_usage")
    use("update_account", {"physical_address": "1 Main Street"}, key="admin")
    assert use("get_audit_log", key="admin")["entries"]
    for tool in ("get_billing_portal", "upgrade_plan", "cancel_subscription"):
        assert "there is no billing" in use(tool, None, 501, key="admin")["error"]
    use("report_issue", {"category": "bug", "description": "slow"}, 201)
    for tool in SIGN_UP:
        assert "operator" in use(tool, None, 501, key=None)["error"]

    # Settings.
    assert ids_of(use("list_mailboxes")["mailboxes"]) == [tenant.mailbox]
    use("update_mailbox", {"forward_inbound": True, "auto_cc": None}, key="admin")
    use("update_mailbox", {"ai_disclosure": True}, key="admin")
    use("update_mailbox", {"ai_disclosure": False}, 400, key="admin")
    flags = {"mcp_configured": 1, "scheduling_enabled": 1, "signature_block": "-- Us"}
    use("configure_mailbox", flags, key="admin")
    shown = tenant.get(tenant.base)
    assert {name: shown[name] for name in flags} == flags
    assert shown.keys() >= MAILBOX
    use("request_upgrade", {"target_mode": "monitored"}, key="admin")
    code = tenant.get("/v1/upgrade-requests", key="admin")["requests"][0]["code"]
    use("apply_upgrade", {"code": code}, key="admin")
    entry = {"pattern": "*@northwind.example", "note": "Customer"}
    use("add_allowlist_entry", entry, 202, key="admin")
    entry["approval_code"] = tenant.newest_code
    added = use("add_allowlist_entry", entry, 201, key="admin")["id"]
    assert ids_of(use("list_allowlist")["entries"]) == [added]
    use("remove_allowlist_entry", key="admin", entry=added)
    wanted = {"name": "K", "scopes": ["read"]}
    key = use("create_api_key", wanted, 201, key="admin")["id"]
    both = wanted | {"scopes": ["send", "oversight"]}
    use("create_api_key", both, 422, key="admin")
    assert key in ids_of(use("list_api_keys", key="admin")["api_keys"])
    use("revoke_api_key", key="admin", made=key)
    box = {"address_local": "desk", "display_name": "Desk"}
    box = use("create_mailbox", box, 201, key="admin")["id"]
    # The server asks for set-up then.
    assert not tenant.get(f"/v1/mailboxes/{box}", key="admin")["mcp_configured"]
    hook = {"url": tenant.gateway.hooks.url + "/mcp", "events": ["message.received"]}
    hook_id = use("create_webhook", hook, 201, key="admin")["id"]
    assert ids_of(use("list_webhooks", key="admin")["webhooks"]) == [hook_id]
    use("delete_webhook", key="admin", hook=hook_id)

    # Permanent deletions.
    tenant.gateway.mail.refuse["no+one@northwind.example"] = "550 no such user"
    tenant.decide(tenant.send(to=["no+one@northwind.example"])["id"], "approve")
    tenant.wait(lambda: use("check_suppression")["suppressions"])
    use("remove_suppression", key="admin")
    use("delete_mailbox", key="admin")
    use("delete_account", key="admin")
    assert {row[0] for row in rows()} == use.used | {"none"}


def test_our_server_has_the_tools_of_the_newest_version(gateway):
    """By the same requests, with arguments that the API knows."""
    catalog = entries()
    newest = {
        tool: (words_of(request), known)
        for request, _, tools, known, _ in rows()
        for tool in words_of(tools)
    }
    assert len(catalog) == 50
    assert catalog.keys() == newest.keys()
    in_page = {plain(asked) for row in rows() for asked in words_of(row[0])}
    for tool, entry in catalog.items():
        _, known = newest[tool]
        for last in entry.actions.values() or [""]:
            request = plain(f"{entry.method} {entry.path.replace('{action}', last)}")
            assert request in in_page, tool
        properties = entry.tool.input_schema["properties"].keys()
        own = {"approval_code", "address_local_part", "timeout_seconds", "filter"}
        if known not in ("", "any") and not entry.actions:
            assert properties - own - set(entry.in_path) <= set(words_of(known)), tool
        assert entry.tool.description


def plain(request):
    """A request without its parameters and the names in it."""
    path = request.replace("{mailbox}", "/v1/mailboxes/{}").partition("?")[0]
    path = re.sub(r"\{\w*\}", "{}", path)
    return (
        path.replace("a%20b.txt", "{}")
        .replace("tags/a", "tags/{}")
        .replace("no%2Bone%40northwind.example", "{}")
    )
