"""What docs/multimail.md says of answers: their keys, and their rules."""

import pytest

from tests.conformance.tenant import ok

ACCOUNT = (
    "id name slug plan oversight_email physical_address monthly_email_quota emails_sent_this_month max_mailboxes"
    " storage_used_bytes max_storage_bytes is_active sending_disabled sending_disabled_reason"
)
MAILBOX = (
    "id tenant_id address display_name oversight_mode auto_cc auto_bcc forward_inbound webhook_url"
    " oversight_webhook_url signature_block created_at is_active default_gate_timing scheduling_enabled ai_disclosure"
    " mcp_configured"
)
SUMMARY = (
    "id email_id message_id mailbox_id mailbox direction from from_address to to_addresses recipient subject status"
    " thread_id received_at created_at timestamp has_attachments delivered_at bounced_at bounce_type spam_score"
    " spam_verdict"
)
FULL = (
    "cc cc_addresses bcc bcc_addresses reply_to markdown attachments tags tag_list metadata send_at scheduled_at"
    " gate_timing oversight_mode approved_at approved_by decided_at decided_by decision decision_reason reason"
    " user_label"
)
PENDING = (
    "id mailbox_id direction from to subject body_markdown status received_at metadata thread_id send_at"
    " oversight_mode cc bcc attachments sent_by_key"
)
DELIVERY = (
    "id event_type url status attempts response_status created_at last_attempt_at"
)
DOMAIN = "id domain status dkim_verified spf_verified mx_verified return_path_verified dns_records"
THREAD = (
    "thread_id message_count participants last_activity has_unanswered_inbound emails"
)
AUDIT = "id action resource_type resource_id actor_key_id metadata created_at"


def missing(keys, answer):
    """Return the promised keys that an answer lacks."""
    return sorted(set(keys.split()) - set(answer))


def test_account_and_mailbox_have_their_keys(tenant):
    answer = tenant.get("/v1/account", key="read")
    assert missing(f"{ACCOUNT} account username scopes mailboxes", answer) == []
    assert missing(ACCOUNT, answer["account"]) == []
    assert answer["username"] == answer["slug"]
    assert (answer["is_active"], answer["sending_disabled"]) in ((True, False), (1, 0))
    for answer in (
        tenant.get(tenant.base, key="read"),
        tenant.get("/v1/mailboxes", key="read")["mailboxes"][0],
    ):
        assert missing(MAILBOX, answer) == []
        assert isinstance(answer["created_at"], int)
        assert answer["created_at"] > 10**12
        assert [answer[flag] for flag in ("forward_inbound", "is_active")] == [0, 1]


def test_message_has_its_keys_in_list_read_pending_and_thread(tenant):
    sent = tenant.held()
    assert missing(SUMMARY, tenant.get(f"{tenant.base}/emails")["emails"][0]) == []
    assert missing(f"{SUMMARY} {FULL}", tenant.read(sent["id"])) == []
    assert (
        missing(f"{SUMMARY} {FULL} text body", tenant.get("/read_email", id=sent["id"]))
        == []
    )
    assert missing(f"{SUMMARY} {PENDING}", tenant.pending()[0]) == []
    for path in (
        f"{tenant.base}/threads/{sent['thread_id']}",
        f"/get_thread?thread_id={sent['thread_id']}",
    ):
        thread = tenant.get(path)
        assert missing(THREAD, thread) == []
        assert missing(SUMMARY, thread["emails"][0]) == []


def test_things_of_an_account_have_their_keys(tenant):
    made = tenant.add_key("new", "read")
    assert missing("id api_key key prefix name scopes", made) == []
    assert made["key"] == made["api_key"]
    assert made["api_key"].startswith(made["prefix"].rstrip("."))
    rows = tenant.call("GET", "/v1/api-keys", key="admin")
    assert (
        missing(
            "id name prefix scopes created_at last_used_at is_active",
            rows.json()["api_keys"][0],
        )
        == []
    )
    assert made["api_key"] not in rows.text
    contact = ok(
        tenant.post("/v1/contacts", name="C", email="c@x.example", tags=["t"]),
        201,
    )
    for answer in (contact, tenant.get("/v1/contacts", key="read")["contacts"][0]):
        assert missing("id name email tags created_at mailbox", answer) == []
        assert isinstance(answer["created_at"], int)
    body = {"domain": f"{tenant.mailbox}.example".lower()}
    domain = ok(tenant.post("/v1/domains", key="admin", **body), 201)
    assert missing(DOMAIN, domain) == []
    assert domain["status"] == "pending"
    assert domain["dns_records"] != []


def test_logs_and_usage_have_their_keys(tenant):
    hook = tenant.subscribe("oversight.pending")
    assert (
        missing("id url events mailbox_id signing_secret secret created_at", hook) == []
    )
    tenant.held()
    tenant.wait_for_events(hook)
    answer = tenant.get("/v1/webhook-deliveries", key="admin")
    assert missing("deliveries cursor", answer) == []
    assert missing(DELIVERY, answer["deliveries"][0]) == []
    log = tenant.get("/v1/audit-log", key="admin")
    assert missing("entries cursor", log) == []
    assert all(missing(AUDIT, entry) == [] for entry in log["entries"])
    counts = "from to emails_sent emails_received api_calls oversight_actions"
    assert missing(counts, tenant.get("/v1/usage", key="read")) == []
    for query in (
        "?breakdown=daily",
        "?period=daily",
        "?breakdown=daily&from=1700000000000&to=1700100000000",
    ):
        assert (
            missing("breakdown data", tenant.get(f"/v1/usage{query}", key="read")) == []
        )
    ok(tenant.post(f"{tenant.base}/request-upgrade", target_mode="autonomous"))
    [wish] = tenant.get("/v1/upgrade-requests", key="admin")["requests"]
    assert missing("id mailbox_id target_mode code created_at expires_at", wish) == []


def test_health_and_document_need_no_key(gateway):
    assert ok(gateway.call("GET", "/health"))["status"] == "ok"
    assert (
        gateway.call("GET", "/v1/openapi.json").json()
        == gateway.call("GET", "/openapi.json").json()
    )


def test_flat_reply_to_a_thread_answers_its_newest_received_mail(tenant):
    first = tenant.receive(subject="Thread")
    parent = tenant.read(first["id"])["message_id_header"]
    second = tenant.receive(subject="Re: Thread", In_Reply_To=parent, References=parent)
    assert second["thread_id"] == first["thread_id"]
    tenant.post(f"{tenant.base}/reply/{first['id']}", markdown="One")
    body = {"thread_id": first["thread_id"], "body": "Two"}
    reply = ok(tenant.post("/reply_email", **body), 202)
    assert (
        tenant.read(reply["id"])["in_reply_to"]
        == tenant.read(second["id"])["message_id_header"]
    )


def test_mailbox_address_is_never_issued_twice(tenant, other):
    address = f"once@{tenant.address.partition('@')[2]}"
    body = {"address": address, "display_name": "Once"}
    made = ok(tenant.post("/v1/mailboxes", key="admin", **body), 201)
    assert tenant.post("/v1/mailboxes", key="admin", **body).status_code == 409
    ok(tenant.delete(f"/v1/mailboxes/{made['id']}"))
    assert tenant.post("/v1/mailboxes", key="admin", **body).status_code == 409
    assert (
        tenant.call("GET", f"/v1/mailboxes/{made['id']}", key="read").status_code == 404
    )
    assert not other.post("/v1/mailboxes", key="admin", **body).ok


def test_approval_in_a_mailbox_that_is_read_only_by_now_is_409(tenant):
    sent = tenant.held()
    ok(tenant.patch(tenant.base, oversight_mode="read_only"))
    assert (
        ok(tenant.decide(sent["id"], "approve"), 409)["status"]
        == "pending_send_approval"
    )
    assert ok(tenant.decide(sent["id"], "reject"))["status"] == "rejected"


@pytest.mark.slow
def test_body_fields_rank_markdown_before_body_before_text(tenant):
    flat = {"from": tenant.address, "to": "a@x.example", "subject": "Rank"}
    for fields in (
        {"text": "t", "body": "b", "markdown": "m"},
        {"text": "t", "body": "b"},
        {"text": "t"},
    ):
        sent = ok(tenant.post("/send_email", **(flat | fields)), 202)
        wanted = fields.get("markdown") or fields.get("body") or fields["text"]
        assert tenant.read(sent["id"])["markdown"] == wanted


ERRORS = [
    ("POST", "{m}/send", {"subject": "x", "markdown": "y"}, "to: is missing."),
    (
        "POST",
        "{m}/send",
        {"to": ["a@x.example"], "subject": 7, "markdown": "y"},
        "subject: must be text.",
    ),
    (
        "PATCH",
        "{m}",
        {"scheduling_enabled": 2},
        "scheduling_enabled: must be true or false.",
    ),
    (
        "PATCH",
        "{m}",
        {"oversight_mode": "x"},
        "oversight_mode: must be one of read_only, gated_all,",
    ),
    ("POST", "/v1/api-keys", {"name": "x", "scopes": []}, "scopes: at least 1 item."),
    (
        "POST",
        "/v1/webhooks",
        {"url": "https://x.example/", "events": ["bounce"], "secret": "x"},
        "secret: at least 8",
    ),
    (
        "POST",
        "/v1/webhooks/{w}/rotate",
        {"overlap_s": "soon"},
        "overlap_s: must be a whole number.",
    ),
    (
        "POST",
        "/v1/webhooks/{w}/rotate",
        {"overlap_s": -1},
        "overlap_s: must be at least 0.",
    ),
]


def test_error_of_a_field_is_a_sentence_for_people(tenant):
    hook = tenant.subscribe("message.opened")["id"]
    for method, path, body, says in ERRORS:
        key = "agent" if path.endswith("/send") else "admin"
        answer = tenant.call(
            method, path.format(m=tenant.base, w=hook), key=key, json=body
        )
        assert ok(answer, 422)["error"].startswith(says), says
