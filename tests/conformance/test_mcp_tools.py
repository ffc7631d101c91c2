"""Every request of MultiMail's MCP server (docs/mcp-tools.md): what it sends, and what
it reads of the answer.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.mcp.catalog import catalog as entries
from tests.conformance.tool_table import use_tools

PAGE = Path(__file__).parents[2] / "docs/mcp-tools.md"


def words_of(cell):
    return re.findall(r"`([^`]+)`", cell)


def rows():
    """Return the requests of the page: the request, its tools in 0.7.0 and in 0.13.0,
    its body, and the answer.
    """
    lines = PAGE.read_text().split("|---|\n")[1].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


BEFORE_THE_MAIL = """
send_email            agent      {$new, "subject": "M", "attachments": [$file], "idempotency_key": "m-1"}
  id as email
send_email            agent      {$new, "subject": "M", "idempotency_key": "m-1"}    id is $email
cancel_message        agent      {}                                status is cancelled
schedule_email        agent      {$new, "subject": "Later", "send_at": "$soon", "gate_timing": "schedule_first"}
  id as email
edit_scheduled_email  agent      {"subject": "Later still"}
"""
AFTER_THE_MAIL = """
check_inbox           agent      {}                                emails.0.id is $email
wait_for_email        agent      {}                                emails.0.id is $email
download_attachment   agent      {}                                url as url
reply_email           agent      {"markdown": "Yes"}               id as reply
get_thread            agent      {}                                message_count is 2
read_email            agent      {}                                status is read
set_tags              agent      {"tags": {"a": "b"}}              tags.a is b
get_tags              agent      {}                                tags.a is b
delete_tag            agent      {}                                deleted is True
report_spam           agent      {}                                status is spam_quarantined
list_spam             agent      {}                                emails.0.id is $email
not_spam              agent      {}                                status is unread
list_pending          oversight  {}                                pending.0.id is $reply
decide_email          oversight  {"email_id": "$reply", "action": "reject", "reason": "No"}    status is rejected
add_contact           agent      {"name": "Dana", "email": "dana@northwind.example", "tags": ["a"]}    id as contact
search_contacts       agent      {}                                contacts.0.id is $contact
delete_contact        agent      {}
get_account           agent      {}
get_usage             agent      {}
update_account        admin      {"physical_address": "1 Main Street"}
get_audit_log         admin      {}                                entries.0.id as some
get_billing_portal    admin      {}                                refused there is no billing
upgrade_plan          admin      {}                                refused there is no billing
cancel_subscription   admin      {}                                refused there is no billing
report_issue          agent      {"category": "bug", "description": "slow"}
request_challenge     nobody     {}                                refused operator
create_account        nobody     {}                                refused operator
activate_account      nobody     {}                                refused operator
resend_confirmation   nobody     {}                                refused operator
list_mailboxes        agent      {}                                mailboxes.0.id is $box
update_mailbox        admin      {"forward_inbound": true, "auto_cc": null}
update_mailbox        admin      {"ai_disclosure": true}
update_mailbox        admin      {"ai_disclosure": false}          refused
configure_mailbox     admin      {"mcp_configured": 1, "scheduling_enabled": 1, "signature_block": "-- Us"}
request_upgrade       admin      {"target_mode": "monitored"}
apply_upgrade         admin      {"code": "$upgrade_code"}
add_allowlist_entry   admin      {"pattern": "*@northwind.example"}    code is pending_approval
add_allowlist_entry   admin      {"pattern": "*@northwind.example", "approval_code": "$approval_code"}    id as entry
list_allowlist        agent      {}                                entries.0.id is $entry
remove_allowlist_entry  admin    {}
create_api_key        admin      {"name": "K", "scopes": ["read"]}    id as made
create_api_key        admin      {"name": "K", "scopes": ["send", "oversight"]}    refused
list_api_keys         admin      {}                                api_keys.0.id as some
revoke_api_key        admin      {}
create_mailbox        admin      {"address_local": "desk", "display_name": "Desk"}    id as some
create_webhook        admin      {"url": "$hooks/mcp", "events": ["message.received"]}    id as hook
list_webhooks         admin      {}                                webhooks.0.id is $hook
delete_webhook        admin      {}
check_suppression     agent      {}                      suppressions.0.email_address is no+one@northwind.example
remove_suppression    admin      {}
delete_mailbox        admin      {}
delete_account        admin      {}
"""


class Known(dict):
    """What answers have told; operators' codes are looked up when they are used."""

    def __init__(self, tenant, **more):
        super().__init__(more)
        self.tenant = tenant

    def __missing__(self, name):
        if name == "approval_code":
            return self.tenant.newest_code
        asked = self.tenant.get("/v1/upgrade-requests", key="admin")["requests"]
        return asked[0]["code"]


def test_every_tool_of_the_mcp_server_answers_as_its_text_promises(tenant):
    """Point 9. A tool calls with a JSON type always, and often without a body."""
    by_tool = {}
    for row in rows():
        for tool in words_of(row[1]) + words_of(row[2]):
            by_tool.setdefault(tool, row)
    known = Known(
        tenant,
        box=tenant.mailbox,
        new='"to": ["dana@northwind.example"], "markdown": "Hello"',
        file='{"name": "a b.txt", "content_base64": "aGVsbG8="}',
        hooks=tenant.gateway.hooks.url,
        soon=f"{datetime.now(UTC) + timedelta(hours=1):%FT%TZ}",
    )
    used = set()

    def use(tool, by, body):
        request, _, _, fields, wanted = by_tool[tool]
        used.add(request)
        path = words_of(request)[0].format(mailbox=tenant.base, **known)
        assert fields == "any" or set(body) <= set(words_of(fields)), tool
        answer = tenant.call(
            *path.split(" "),
            key=None if by == "nobody" else by,
            data=json.dumps(body) if body else None,
            headers={"Content-Type": "application/json"},
        )
        said = answer.json()
        if answer.ok and said.get("code") != "pending_approval":
            assert said.keys() >= set(words_of(wanted)), tool
        return said, not answer.ok

    use_tools(BEFORE_THE_MAIL, known, use)
    known["since"] = tenant.receive()["id"]
    received = tenant.receive(files={"a b.txt": b"hello"})
    known |= {"email": received["id"], "thread": received["thread_id"]}
    tenant.gateway.mail.refuse["no+one@northwind.example"] = "550 no such user"
    tenant.decide(tenant.send(to=["no+one@northwind.example"])["id"], "approve")
    tenant.wait(lambda: tenant.get("/v1/suppression")["suppressions"])
    use_tools(AFTER_THE_MAIL, known, use)
    url = known["url"]
    assert tenant.call("GET", url, key=None, raw=True).status_code == 403
    assert {row[0] for row in rows()} == used | {"none"}


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
        # A reply names its recipient (to) where the message has no address.
        own = set("approval_code address_local_part timeout_seconds filter to".split())
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
