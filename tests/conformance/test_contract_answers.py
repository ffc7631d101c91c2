"""What docs/multimail.md says of answers: their keys, and their rules."""

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
    for answer in (
        tenant.get(tenant.base, key="read"),
        tenant.get("/v1/mailboxes", key="read")["mailboxes"][0],
    ):
        assert missing(MAILBOX, answer) == []
        assert answer["created_at"] > 10**12
        assert (answer["forward_inbound"], answer["is_active"]) == (0, 1)


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
    for query in ("breakdown=daily", "period=daily"):
        daily = tenant.get(f"/v1/usage?{query}", key="read")
        assert missing("breakdown data", daily) == []
    ok(tenant.post(f"{tenant.base}/request-upgrade", target_mode="autonomous"))
    [wish] = tenant.get("/v1/upgrade-requests", key="admin")["requests"]
    assert missing("id mailbox_id target_mode code created_at expires_at", wish) == []


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
