"""Keys, scopes, other people's things, limits, and bodies."""

from tests.conformance.tenant import ok

JSON = {"Content-Type": "application/json"}
READ = {"read"}
SEND = {"send"}
ADMIN = {"admin"}
DECIDE = {"oversight"}
SEE = {"oversight", "oversight_read"}
UPGRADE = {"send", "admin"}
# docs/multimail.md, Accounts and keys: what each call needs. {m} is the mailbox, x is
# nothing that exists.
NEEDS = [
    (
        READ,
        [
            "GET /v1/mailboxes",
            "GET {m}",
            "GET {m}/emails",
            "GET {m}/emails/x",
            "GET {m}/emails/x/attachments/x",
            "GET {m}/emails/x/attachments/x/url",
            "GET {m}/emails/x/tags",
            "GET {m}/threads/x",
            "GET /v1/contacts",
            "GET /v1/usage",
            "GET /v1/check_inbox",
            "GET /check_inbox",
            "GET /v1/inbox",
            "GET /v1/read_email",
            "GET /v1/get_thread",
            "GET /v1/emails",
            "GET /v1/emails/inbox",
            "GET /v1/emails/thread/x",
            "GET /v1/emails/x",
            "GET {m}/allowlist",
            "GET {m}/allowlist/status",
        ],
    ),
    (
        SEND,
        [
            "POST {m}/send",
            "POST {m}/reply/x",
            "POST {m}/emails/x/cancel",
            "PATCH {m}/emails/x/schedule",
            "PUT {m}/emails/x/tags",
            "DELETE {m}/emails/x/tags/x",
            "POST /v1/send_email",
            "POST /send_email",
            "POST /v1/reply_email",
            "POST /v1/cancel_message",
            "POST /v1/tag_email",
            "POST /v1/emails/send",
            "POST /v1/emails/x/reply",
            "POST /v1/emails/x/tag",
            "POST /v1/emails/x/report-spam",
            "POST /v1/emails/x/not-spam",
        ],
    ),
    (
        SEE,
        [
            "GET /v1/emails/pending",
            "GET /v1/oversight/pending",
            "GET /v1/list_pending",
            "GET /list_pending",
        ],
    ),
    (
        DECIDE,
        [
            "POST /v1/emails/x/decide",
            "PATCH /v1/emails/x/decide",
            "POST /v1/oversight/decide",
            "POST /v1/oversight/expiry",
            "POST /v1/decide_email",
            "POST /decide_email",
        ],
    ),
    (
        UPGRADE,
        [
            "POST {m}/request-upgrade",
            "POST {m}/upgrade",
        ],
    ),
    (
        ADMIN,
        [
            "POST /v1/mailboxes",
            "POST /v1/create_mailbox",
            "PATCH /v1/mailboxes/x",
            "PATCH /v1/mailboxes/x/configure",
            "DELETE /v1/mailboxes/x",
            "GET {m}/allowlist?kind=bypass",
            "PUT {m}/allowlist",
            "POST {m}/allowlist",
            "DELETE {m}/allowlist/x",
            "PUT {m}/allowlist/mode",
            "GET /v1/api-keys",
            "POST /v1/api-keys",
            "PATCH /v1/api-keys/x",
            "DELETE /v1/api-keys/x",
            "GET /v1/webhooks",
            "POST /v1/webhooks",
            "GET /v1/webhooks/x",
            "DELETE /v1/webhooks/x",
            "POST /v1/webhooks/x/rotate",
            "POST /v1/webhooks/x/test",
            "GET /v1/webhook-deliveries",
            "POST /v1/webhook-deliveries/1/replay",
            "GET /v1/upgrade-requests",
            "GET /v1/domains",
            "POST /v1/domains",
            "GET /v1/domains/x",
            "POST /v1/domains/x/verify",
            "DELETE /v1/domains/x",
            "DELETE /v1/suppression/x@y.example",
            "GET /v1/audit-log",
            "PATCH /v1/account",
        ],
    ),
    (
        SEE | ADMIN,
        [
            "GET /v1/refusals",
        ],
    ),
    (
        SEND | ADMIN,
        [
            "POST /v1/contacts",
            "DELETE /v1/contacts/x",
        ],
    ),
    (
        READ | SEND | ADMIN,
        [
            "GET /v1/suppression",
        ],
    ),
]
SCOPES = {call: scopes for scopes, calls in NEEDS for call in calls}
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
    assert set(account) == {"id", "scopes", "limited", "mailboxes"}
    assert account["scopes"] == ["oversight"]


def test_messages_of_another_account_are_404_on_every_path(tenant, other):
    sent = other.held(
        attachments=[
            {"name": "f", "content_base64": "eA==", "content_type": "text/plain"}
        ]
    )
    email_id = sent["id"]
    calls = [
        (method, f"{base}/emails/{email_id}{rest}", "agent", body)
        for base in (other.base, tenant.base)
        for method, rest, body in (
            ("GET", "", None),
            ("GET", "/tags", None),
            ("GET", "/attachments/f", None),
            ("GET", "/attachments/f/url", None),
            ("POST", "/cancel", None),
            ("PUT", "/tags", {"tags": {"a": "b"}}),
            ("PATCH", "/schedule", {"subject": "x"}),
        )
    ]
    verdict = {"email_id": email_id, "action": "approve"}
    message = {"to": "a@x.example", "subject": "x", "body": "y"}
    calls += [
        ("GET", f"/read_email?id={email_id}", "agent", None),
        ("GET", f"/get_thread?thread_id={sent['thread_id']}", "agent", None),
        ("GET", f"/check_inbox?mailbox={other.address}", "agent", None),
        ("POST", "/cancel_message", "agent", {"id": email_id}),
        ("POST", "/tag_email", "agent", {"id": email_id, "tags": ["a"]}),
        ("POST", "/send_email", "agent", message | {"from": other.address}),
        ("POST", "/reply_email", "agent", {"email_id": email_id, "body": "y"}),
        ("POST", "/decide_email", "oversight", verdict),
        ("POST", "/v1/oversight/decide", "oversight", verdict),
    ]
    for method, path, key, body in calls:
        answer = tenant.call(method, path, key=key, json=body)
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    assert other.status(email_id) == "pending_send_approval"
    assert other.read(email_id)["tags"] == {}


def test_things_of_another_account_are_404_to_its_admin(tenant, other):
    hook = f"/v1/webhooks/{other.subscribe('message.sent')['id']}"
    key = f"/v1/api-keys/{other.add_key('theirs', 'read')['id']}"
    contact = ok(other.post("/v1/contacts", email="c@x.example"), 201)
    body = {"domain": f"{other.mailbox}.example".lower()}
    made = ok(other.post("/v1/domains", key="admin", **body), 201)
    domain = f"/v1/domains/{made['id']}"
    for methods, path in (
        ("GET PATCH DELETE", other.base),
        ("PATCH", f"{other.base}/configure"),
        ("GET", f"{other.base}/allowlist?kind=bypass"),
        ("GET", f"{other.base}/threads/x"),
        ("GET DELETE", hook),
        ("POST", f"{hook}/rotate"),
        ("POST", f"{hook}/test"),
        ("PATCH DELETE", key),
        ("DELETE", f"/v1/contacts/{contact['id']}"),
        ("GET DELETE", domain),
        ("POST", f"{domain}/verify"),
    ):
        for method in methods.split():
            body = {"display_name": "x", "name": "x"}
            answer = tenant.call(method, path, key="admin", json=body)
            assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    assert other.call("GET", "/v1/account", key="theirs").status_code == 200
