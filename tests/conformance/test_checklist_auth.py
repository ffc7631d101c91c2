"""Keys, scopes, other people's things, limits, and bodies."""

import itertools
import json
from string import Template

from common.tables import table_rows
from tests.conformance.tenant import ok

JSON = {"Content-Type": "application/json"}
ADMIN = {"admin"}
# docs/multimail.md, Accounts and keys: what each call needs. {m} is the mailbox, x is
# nothing that exists.
SCOPES = {
    call: set(scopes.split())
    for scopes, call in table_rows("""
read                    | GET /v1/mailboxes
read                    | GET {m}
read                    | GET {m}/emails
read                    | GET {m}/emails/x
read                    | GET {m}/emails/x/attachments/x
read                    | GET {m}/emails/x/attachments/x/url
read                    | GET {m}/emails/x/tags
read                    | GET {m}/threads/x
read                    | GET /v1/contacts
read                    | GET /v1/usage
read                    | GET /v1/check_inbox
read                    | GET /check_inbox
read                    | GET /v1/inbox
read                    | GET /v1/read_email
read                    | GET /v1/get_thread
read                    | GET /v1/emails
read                    | GET /v1/emails/inbox
read                    | GET /v1/emails/thread/x
read                    | GET /v1/emails/x
read                    | GET {m}/allowlist
read                    | GET {m}/allowlist/status
send                    | POST {m}/send
send                    | POST {m}/reply/x
send                    | POST {m}/emails/x/cancel
send                    | PATCH {m}/emails/x/schedule
send                    | PUT {m}/emails/x/tags
send                    | DELETE {m}/emails/x/tags/x
send                    | POST /v1/send_email
send                    | POST /send_email
send                    | POST /v1/reply_email
send                    | POST /v1/cancel_message
send                    | POST /v1/tag_email
send                    | POST /v1/emails/send
send                    | POST /v1/emails/x/reply
send                    | POST /v1/emails/x/tag
send                    | POST /v1/emails/x/report-spam
send                    | POST /v1/emails/x/not-spam
oversight oversight_read| GET /v1/emails/pending
oversight oversight_read| GET /v1/oversight/pending
oversight oversight_read| GET /v1/list_pending
oversight oversight_read| GET /list_pending
oversight               | POST /v1/emails/x/decide
oversight               | PATCH /v1/emails/x/decide
oversight               | POST /v1/oversight/decide
oversight               | POST /v1/oversight/expiry
oversight               | POST /v1/decide_email
oversight               | POST /decide_email
send admin              | POST {m}/request-upgrade
send admin              | POST {m}/upgrade
admin                   | POST /v1/mailboxes
admin                   | POST /v1/create_mailbox
admin                   | PATCH /v1/mailboxes/x
admin                   | PATCH /v1/mailboxes/x/configure
admin                   | DELETE /v1/mailboxes/x
admin                   | GET {m}/allowlist?kind=bypass
admin                   | PUT {m}/allowlist
admin                   | POST {m}/allowlist
admin                   | DELETE {m}/allowlist/x
admin                   | PUT {m}/allowlist/mode
admin                   | GET /v1/api-keys
admin                   | POST /v1/api-keys
admin                   | PATCH /v1/api-keys/x
admin                   | DELETE /v1/api-keys/x
admin                   | GET /v1/webhooks
admin                   | POST /v1/webhooks
admin                   | GET /v1/webhooks/x
admin                   | DELETE /v1/webhooks/x
admin                   | POST /v1/webhooks/x/rotate
admin                   | POST /v1/webhooks/x/test
admin                   | GET /v1/webhook-deliveries
admin                   | POST /v1/webhook-deliveries/1/replay
admin                   | GET /v1/upgrade-requests
admin                   | GET /v1/domains
admin                   | POST /v1/domains
admin                   | GET /v1/domains/x
admin                   | POST /v1/domains/x/verify
admin                   | DELETE /v1/domains/x
admin                   | DELETE /v1/suppression/x@y.example
admin                   | GET /v1/audit-log
admin                   | PATCH /v1/account
oversight oversight_read admin| GET /v1/refusals
send admin              | POST /v1/contacts
send admin              | DELETE /v1/contacts/x
read send admin         | GET /v1/suppression
""")
}
ALL = ("read", "send", "oversight", "oversight_read", "admin")
# As WSGI hands headers on: bytes that are no ASCII come as Latin-1.
BAD_KEYS = (
    "mm_live_unknown",
    "mm_test_unknown",
    "ümlaut",
    "mm_live_" + "a" * 5000,
)
NO_KEYS = (
    {"Authorization": "Basic eDp5"},
    {"Authorization": "Bearer"},
    {"X-API-Key": ""},
)


def operations(tenant):
    for operation in SCOPES:
        method, _, path = operation.partition(" ")
        yield operation, method, path.replace("{m}", tenant.base)


def test_every_call_without_a_key_and_every_unknown_key_is_401(tenant):
    answers = {
        one: tenant.call(method, path, key=None, headers=JSON)
        for one, method, path in operations(tenant)
    }
    bad = [{"Authorization": f"Bearer {key}"} for key in BAD_KEYS] + [
        {"X-API-Key": key} for key in BAD_KEYS
    ]
    answers |= {
        str(sent)[:60]: tenant.call("GET", "/v1/account", key=None, headers=sent)
        for sent in (*bad, *NO_KEYS)
    }
    assert {
        one: answer.text for one, answer in answers.items() if answer.status_code != 401
    } == {}
    for answer in answers.values():
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.startswith("Bearer resource_metadata="), challenge


def test_either_header_will_do_and_bearer_wins(tenant):
    read = tenant.keys["read"]
    admin = tenant.keys["admin"]
    alone = tenant.call("GET", "/v1/account", key=None, headers={"X-API-Key": read})
    assert ok(alone)["scopes"] == ["read"]
    both = {"X-API-Key": admin, "Authorization": f"bEARER  {read} "}
    alone = tenant.call("GET", "/v1/account", key=None, headers=both)
    assert ok(alone)["scopes"] == ["read"]


def test_each_call_needs_its_scope_and_lacking_it_is_403(tenant):
    """Test each scope that is sufficient alone, and all others combined; no key can
    both send and decide.
    """

    def is_refused(method, path, scopes):
        name = " ".join(sorted(scopes))
        if name not in tenant.keys:
            tenant.add_key(name, *scopes)
        answer = tenant.call(method, path, key=name, headers=JSON)
        return answer.status_code == 403 and answer.json()["code"] == "missing_scope"

    wrong = []
    for operation, method, path in operations(tenant):
        enough = SCOPES[operation] | (ADMIN if "read" in SCOPES[operation] else set())
        wrong += [
            (operation, "needs more than", one)
            for one in enough
            if is_refused(method, path, {one})
        ]
        others = set(ALL) - enough
        for apart in ("send", "oversight"):
            some = others - {apart} if {"send", "oversight"} <= others else others
            if not is_refused(method, path, some):
                wrong.append((operation, "is open to", some))
    assert wrong == []


def test_account_tells_a_key_that_does_not_read_its_scopes_alone(tenant):
    account = ok(tenant.call("GET", "/v1/account", key="oversight"))
    assert set(account) == {"id", "scopes", "limited", "mailboxes", "cursor"}
    assert account["scopes"] == ["oversight"]


# What is tried with a message of another account: method, path and body.
TRIED = table_rows("""
GET   | $base/emails/$id                     | {}
GET   | $base/emails/$id/tags                | {}
GET   | $base/emails/$id/attachments/f       | {}
GET   | $base/emails/$id/attachments/f/url   | {}
POST  | $base/emails/$id/cancel              | {}
PUT   | $base/emails/$id/tags                | {"tags": {"a": "b"}}
PATCH | $base/emails/$id/schedule            | {"subject": "x"}
GET   | /read_email?id=$id                   | {}
GET   | /get_thread?thread_id=$thread        | {}
GET   | /check_inbox?mailbox=$address        | {}
POST  | /cancel_message                      | {"id": "$id"}
POST  | /tag_email                           | {"id": "$id", "tags": ["a"]}
POST  | /send_email                          | {"from": "$address", "to": "a@x.example", "subject": "x", "body": "y"}
POST  | /reply_email                         | {"email_id": "$id", "body": "y"}
POST  | /decide_email                        | {"email_id": "$id", "action": "approve"}
POST  | /v1/oversight/decide                 | {"email_id": "$id", "action": "approve"}
""")


def test_messages_of_another_account_are_404_on_every_path(tenant, other):
    sent = other.held(attachments=[{"name": "f", "content_base64": "eA=="}])
    known = {
        "id": sent["id"],
        "thread": sent["thread_id"],
        "address": other.address,
    }
    for base, row in itertools.product((other.base, tenant.base), TRIED):
        method, path, body = (
            Template(cell).substitute(known, base=base) for cell in row
        )
        key = "oversight" if "decide" in path else "agent"
        body = json.loads(body) or None
        answer = tenant.call(method, path, key=key, json=body)
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    assert other.status(sent["id"]) == "pending_send_approval"
    assert other.read(sent["id"])["tags"] == {}


THINGS = table_rows("""
GET PATCH DELETE | $base
PATCH            | $base/configure
GET              | $base/allowlist?kind=bypass
GET              | $base/threads/x
GET DELETE       | $hook
POST             | $hook/rotate
POST             | $hook/test
PATCH DELETE     | $key
DELETE           | /v1/contacts/$contact
GET DELETE       | $domain
POST             | $domain/verify
""")


def test_things_of_another_account_are_404_to_its_admin(tenant, other):
    hook = f"/v1/webhooks/{other.subscribe('message.sent')['id']}"
    key = f"/v1/api-keys/{other.add_key('theirs', 'read')['id']}"
    contact = ok(other.post("/v1/contacts", email="c@x.example"), 201)
    body = {"domain": f"{other.mailbox}.example".lower()}
    made = ok(other.post("/v1/domains", key="admin", **body), 201)
    domain = f"/v1/domains/{made['id']}"
    known = {"base": other.base, "hook": hook, "key": key, "domain": domain}
    for methods, path in THINGS:
        path = Template(path).substitute(known, contact=contact["id"])
        for method in methods.split():
            body = {"display_name": "x", "name": "x"}
            answer = tenant.call(method, path, key="admin", json=body)
            assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    assert other.call("GET", "/v1/account", key="theirs").status_code == 200
