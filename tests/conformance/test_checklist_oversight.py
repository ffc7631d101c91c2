"""What waits, decisions and their races, timing, inbound, upgrades."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from common.tables import table_pairs, table_rows
from tests.conformance.tenant import ids_of, ok, unique

PENDING = ("/v1/oversight/pending", "/list_pending", "/v1/list_pending")
DECIDE = ("/v1/oversight/decide", "/decide_email", "/v1/decide_email")


def in_hours(hours):
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_same_rows_stand_under_three_keys_on_every_path(make_tenant):
    tenant = make_tenant("gated_all")
    ids = [tenant.send()["id"], tenant.receive()["id"], tenant.send()["id"]]
    for path in PENDING:
        answer = tenant.get(path, key="oversight")
        assert answer["pending"] == answer["emails"] == answer["messages"], path
        assert ids_of(answer["pending"]) == ids, path
        assert answer["count"] == 3, path
    assert answer["pending"][1]["status"] == "pending_inbound_approval"


def test_pending_turns_pages_narrows_and_leaves_out_what_is_scheduled_or_closed(tenant):
    ids = [tenant.send()["id"] for _ in range(3)]
    later = tenant.send(send_at=in_hours(1), gate_timing="schedule_first")
    gone = tenant.held()
    ok(tenant.cancel(gone["id"]))
    walked = []
    cursor = ""
    while cursor is not None:
        answer = tenant.get(PENDING[0], key="oversight", limit=2, cursor=cursor)
        walked += ids_of(answer["pending"])
        cursor = answer["cursor"]
    assert walked == ids
    assert ids_of(tenant.pending(mailbox=tenant.address)) == ids
    assert ids_of(tenant.pending(email_id=ids[2])) == [ids[2]]
    elsewhere = {"mailbox": "no@such.example"}
    answer = tenant.call("GET", PENDING[0], key="oversight", params=elsewhere)
    assert answer.status_code == 404
    for email, status in ((gone, "cancelled"), (later, "scheduled")):
        answer = tenant.get(PENDING[0], key="oversight", email_id=email["id"])
        assert (answer["pending"], answer["status"]) == ([], status)


def test_approved_mail_leaves_once_and_is_on_record(tenant):
    subject = unique("Approved")
    sent = tenant.held(subject=subject)
    answer = ok(tenant.decide(sent["id"], "approve", reason="  "))
    assert answer["status"] == "approved_and_sent"
    assert answer["decision"] == "approved"
    assert answer["reason"] is None
    assert answer["id"] == answer["email_id"] == answer["message_id"] == sent["id"]
    assert answer["postmark_message_id"]
    tenant.wait_for_mails(subject)
    tenant.wait_for_status(sent["id"], "sent")
    tenant.gateway.sweep()
    read = tenant.read(sent["id"])
    assert read["approved_at"] == answer["decided_at"]
    assert read["approved_by"] == answer["decided_by"] != ""
    [approval] = [entry for entry in tenant.audit() if "approved" in entry["action"]]
    assert approval["resource_id"] == sent["id"]
    assert approval["actor_key_id"]
    assert len(tenant.gateway.mails(subject)) == 1


def test_decide_takes_either_word_on_every_path_and_decides_nothing_that_is_unclear(
    tenant,
):
    sent = tenant.send()["id"]
    for body in (
        {},
        {"action": "maybe"},
        {"action": "approve", "decision": "rejected"},
    ):
        answer = tenant.post(DECIDE[0], key="oversight", email_id=sent, **body)
        assert answer.status_code == 422, body
    for path, name, body, status in (
        (DECIDE[0], "email_id", {"action": "Approve"}, "approved_and_sent"),
        (DECIDE[1], "message_id", {"decision": "approved"}, "approved"),
        (DECIDE[2], "id", {"action": "reject", "decision": "rejected"}, "rejected"),
    ):
        body[name] = tenant.send()["id"]
        decided = ok(tenant.post(path, key="oversight", **body))
        assert decided["status"] == status, path
        assert decided["decision"] == status[:8], path


def test_second_decision_is_409_and_tells_the_first(tenant):
    for first, second in (("approve", "reject"), ("reject", "approve")):
        sent = tenant.held()
        before = ok(tenant.decide(sent["id"], first, reason="first"))
        answer = ok(tenant.decide(sent["id"], second, reason="second"), 409)
        assert answer["status"] in ("rejected", "sent", "scheduled")
        assert answer["reason"] == "first"
        for name in ("decision", "decided_at", "decided_by"):
            assert answer[name] == before[name], name
    [rejection] = [one for one in tenant.audit() if "rejected" in one["action"]]
    assert rejection["metadata"]["reason"] == "first"
    read = tenant.read(rejection["resource_id"])
    assert (read["decision_reason"], read["approved_at"]) == ("first", None)
    cancelled = tenant.held()
    ok(tenant.cancel(cancelled["id"]))
    answer = ok(tenant.decide(cancelled["id"], "approve"), 409)
    assert answer["status"] == "cancelled"
    assert answer.get("decision") is None


def test_key_that_composed_does_not_decide(tenant):
    made = tenant.add_key("turncoat", "send")
    sent = tenant.held(key="turncoat")
    # No key may send and decide, so an operator has changed this key's scope meanwhile.
    tenant.gateway.sql(
        "UPDATE gateway_apikey SET scopes = '{oversight}' WHERE id = %s", made["id"]
    )
    assert (
        ok(tenant.decide(sent["id"], "approve", key="turncoat"), 403)["code"]
        != "missing_scope"
    )
    assert tenant.status(sent["id"]) == "pending_send_approval"
    assert tenant.decide(sent["id"], "approve").status_code == 200


def test_key_that_sends_decides_by_no_route(tenant):
    """Whatever the API offers is tried with the ids of messages that wait."""
    tenant.add_key("sender", "read", "send")
    tenant.add_key("other sender", "read", "send")
    own = tenant.held(key="sender")["id"]
    other = tenant.held(key="other sender")["id"]
    routes = [
        (method.upper(), route)
        for route, methods in tenant.get("/openapi.json", key=None)["paths"].items()
        for method in methods
        if method != "parameters"
    ]
    assert ("POST", "/v1/oversight/decide") in routes
    for email_id in (own, other):
        body = {"email_id": email_id, "action": "approve", "reason": "Fine"}
        for method, route in routes:
            # It may take a message back; what is left then cannot be tried.
            if "cancel" in route:
                continue
            path = route.replace("{mailbox}", tenant.mailbox)
            path = path.replace("{email}", email_id).replace("{name}", email_id)
            path = re.sub(r"\{\w+\}", email_id, path)
            tenant.call(method, path, key="sender", json=body, raw=True)
            tenant.call(
                method, path, key="sender", params={"id": email_id, "decision": "approve"}, raw=True
            )  # fmt: skip
    tenant.gateway.sweep()
    for email_id in (own, other):
        read = tenant.read(email_id)
        assert (read["status"], read["decision"]) == ("pending_send_approval", None)


def test_gate_first_waits_for_its_time_after_an_early_approval_and_a_late_one_sends_at_once(
    tenant,
):
    early = unique("Early")
    late = unique("Late")
    sent = tenant.held(subject=early, send_at=in_hours(1), gate_timing="gate_first")
    assert ok(tenant.decide(sent["id"], "approve"))["status"] == "approved"
    assert tenant.wait_for_status(sent["id"], "scheduled")
    assert tenant.gateway.mails(early) == []
    tenant.pass_time(sent["id"])
    assert tenant.wait_for_mails(early)
    sent = tenant.held(subject=late, send_at=in_hours(1))
    tenant.pass_time(sent["id"])
    assert tenant.status(sent["id"]) == "pending_send_approval"
    assert ok(tenant.decide(sent["id"], "approve"))["status"] == "approved_and_sent"
    assert tenant.wait_for_mails(late)


def test_schedule_first_asks_when_its_time_has_come(tenant):
    subject = unique("Schedule first")
    # Without a value in the call the mailbox's setting applies.
    ok(tenant.patch(tenant.base, default_gate_timing="schedule_first"))
    sent = tenant.send(subject=subject, send_at=in_hours(1))
    assert tenant.wait_for_status(sent["id"], "scheduled")
    assert tenant.pending() == []
    assert tenant.read(sent["id"])["gate_timing"] == "schedule_first"
    tenant.pass_time(sent["id"])
    assert tenant.wait_for_status(sent["id"], "pending_send_approval")
    assert ok(tenant.decide(sent["id"], "approve"))["status"] == "approved_and_sent"
    assert tenant.wait_for_mails(subject)


def test_no_event_tells_the_words_of_held_inbound_mail_and_its_approval_lets_it_in(
    make_tenant,
):
    tenant = make_tenant("gated_all")
    hook = tenant.subscribe("message.received", "oversight.pending")
    row = tenant.receive(
        subject="Geheimwort", body="Geheimwort", files={"secret.txt": b"Geheimwort"}
    )
    assert row["status"] == "pending_inbound_approval"
    [event] = tenant.wait_for_events(hook)
    assert event.said["event"] == "oversight.pending"
    assert "Geheimwort" not in str(event.said)
    assert ok(tenant.decide(row["id"], "approve"))["status"] == "approved"
    assert tenant.status(row["id"]) == "unread"
    _, event = tenant.wait_for_events(hook, 2)
    assert event.said["event"] == "message.received"
    assert "Geheimwort" in tenant.read(row["id"], key="agent")["markdown"]


# --- what docs/multimail.md says of answers ---


KEYS = table_pairs("""
account | id name slug plan oversight_email physical_address monthly_email_quota emails_sent_this_month max_mailboxes
    storage_used_bytes max_storage_bytes is_active sending_disabled sending_disabled_reason
own     | account username scopes mailboxes
mailbox | id tenant_id address display_name oversight_mode auto_cc auto_bcc forward_inbound webhook_url
    oversight_webhook_url signature_block created_at is_active default_gate_timing scheduling_enabled ai_disclosure
    mcp_configured
summary | id email_id message_id mailbox_id mailbox direction from from_address to to_addresses recipient subject
    status thread_id received_at created_at timestamp has_attachments delivered_at bounced_at bounce_type spam_score
    spam_verdict
full    | cc cc_addresses bcc bcc_addresses reply_to markdown attachments tags tag_list metadata send_at scheduled_at
    gate_timing oversight_mode approved_at approved_by decided_at decided_by decision decision_reason reason
    user_label
flat    | text body
pending | id mailbox_id direction from to subject body_markdown status received_at metadata thread_id send_at
    oversight_mode cc bcc attachments sent_by_key
delivery | id event_type url status attempts response_status created_at last_attempt_at
domain  | id domain status dkim_verified spf_verified mx_verified return_path_verified dns_records
thread  | thread_id message_count participants last_activity has_unanswered_inbound emails
audit   | id action resource_type resource_id actor_key_id metadata created_at
key     | id name prefix scopes created_at last_used_at is_active
contact | id name email tags created_at mailbox
usage   | from to emails_sent emails_received api_calls oversight_actions
daily   | breakdown data
upgrade | id mailbox_id target_mode code created_at expires_at
""")
# What is read with which key, the list in the answer whose first row is meant, and which
# keys must be there.
PROMISED = table_rows("""
/v1/account                        | read      |            | account own
{base}                             | read      |            | mailbox
/v1/mailboxes                      | read      | mailboxes  | mailbox
{base}/emails                      | agent     | emails     | summary
{base}/emails/{id}                 | read      |            | summary full
/read_email?id={id}                | agent     |            | summary full flat
/v1/oversight/pending              | oversight | pending    | summary pending
/get_thread?thread_id={thread_id}  | agent     |            | thread
{base}/threads/{thread_id}         | agent     | emails     | summary
/v1/api-keys                       | admin     | api_keys   | key
/v1/contacts                       | read      | contacts   | contact
/v1/domains                        | admin     | domains    | domain
/v1/webhook-deliveries             | admin     | deliveries | delivery
/v1/audit-log                      | admin     | entries    | audit
/v1/usage                          | read      |            | usage
/v1/usage?breakdown=daily          | read      |            | daily
/v1/upgrade-requests               | admin     | requests   | upgrade
""")


@pytest.mark.slow
def test_answers_have_their_keys(tenant):
    hook = tenant.subscribe("oversight.pending")
    sent = tenant.held()
    tenant.wait_for_events(hook)
    tenant.post("/v1/contacts", name="C", email="c@x.example")
    domain = f"{tenant.mailbox}.example".lower()
    tenant.post("/v1/domains", key="admin", domain=domain)
    tenant.post(f"{tenant.base}/request-upgrade", target_mode="autonomous")
    for path, key, rows, kinds in PROMISED:
        answer = tenant.get(path.format(base=tenant.base, **sent), key=key)
        shown = answer[rows][0] if rows else answer
        promised = " ".join(KEYS[kind] for kind in kinds.split())
        assert set(promised.split()) - set(shown) == set(), path
    account = tenant.get("/v1/account", key="read")["account"]
    assert set(KEYS["account"].split()) <= set(account)
    listed = tenant.get("/v1/mailboxes", key="read")["mailboxes"][0]
    assert listed["created_at"] > 10**12
    assert (listed["forward_inbound"], listed["is_active"]) == (0, 1)
