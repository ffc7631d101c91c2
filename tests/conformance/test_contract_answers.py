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
KEY = "id name prefix scopes created_at last_used_at is_active"
CONTACT = "id name email tags created_at mailbox"
USAGE = "from to emails_sent emails_received api_calls oversight_actions"
UPGRADE = "id mailbox_id target_mode code created_at expires_at"


# What is read with which key, where in the answer, and the keys that must be there.
PROMISED = [
    ("/v1/account", "read", (), f"{ACCOUNT} account username scopes mailboxes"),
    ("/v1/account", "read", ("account",), ACCOUNT),
    ("{base}", "read", (), MAILBOX),
    ("/v1/mailboxes", "read", ("mailboxes", 0), MAILBOX),
    ("{base}/emails", "agent", ("emails", 0), SUMMARY),
    ("{base}/emails/{id}", "read", (), f"{SUMMARY} {FULL}"),
    ("/read_email?id={id}", "agent", (), f"{SUMMARY} {FULL} text body"),
    ("/v1/oversight/pending", "oversight", ("pending", 0), f"{SUMMARY} {PENDING}"),
    ("/get_thread?thread_id={thread_id}", "agent", (), THREAD),
    ("{base}/threads/{thread_id}", "agent", ("emails", 0), SUMMARY),
    ("/v1/api-keys", "admin", ("api_keys", 0), KEY),
    ("/v1/contacts", "read", ("contacts", 0), CONTACT),
    ("/v1/domains", "admin", ("domains", 0), DOMAIN),
    ("/v1/webhook-deliveries", "admin", ("deliveries", 0), DELIVERY),
    ("/v1/audit-log", "admin", ("entries", 0), AUDIT),
    ("/v1/usage", "read", (), USAGE),
    ("/v1/usage?breakdown=daily", "read", (), "breakdown data"),
    ("/v1/upgrade-requests", "admin", ("requests", 0), UPGRADE),
]


def test_answers_have_their_keys(tenant):
    hook = tenant.subscribe("oversight.pending")
    sent = tenant.held()
    tenant.wait_for_events(hook)
    tenant.post("/v1/contacts", name="C", email="c@x.example")
    domain = f"{tenant.mailbox}.example".lower()
    tenant.post("/v1/domains", key="admin", domain=domain)
    tenant.post(f"{tenant.base}/request-upgrade", target_mode="autonomous")
    for path, key, where, promised in PROMISED:
        answer = tenant.get(path.format(base=tenant.base, **sent), key=key)
        for name in where:
            answer = answer[name]
        assert set(promised.split()) - set(answer) == set(), path
    listed = tenant.get("/v1/mailboxes", key="read")["mailboxes"][0]
    assert listed["created_at"] > 10**12
    assert (listed["forward_inbound"], listed["is_active"]) == (0, 1)


def test_mailbox_address_is_never_issued_twice(tenant, other):
    address = f"once@{tenant.address.partition('@')[2]}"
    body = {"address": address, "display_name": "Once"}
    made = ok(tenant.post("/v1/mailboxes", key="admin", **body), 201)
    ok(tenant.delete(f"/v1/mailboxes/{made['id']}"))
    assert tenant.post("/v1/mailboxes", key="admin", **body).status_code == 409
    assert not other.post("/v1/mailboxes", key="admin", **body).ok


def test_approval_in_a_mailbox_that_is_read_only_by_now_is_409(tenant):
    sent = tenant.held()
    ok(tenant.patch(tenant.base, oversight_mode="read_only"))
    assert tenant.decide(sent["id"], "approve").status_code == 409
    ok(tenant.decide(sent["id"], "reject"))
