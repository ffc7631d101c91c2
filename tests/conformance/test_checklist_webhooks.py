"""What subscribers get, signed, spelled and retried as promised."""

import hashlib
import hmac
import re
from datetime import datetime

from tests.conformance.tenant import ok, unique

# Contract 6.2: each event, its aliases, and the action that causes it.
SPELLINGS = {
    "oversight.approved": ("message.approved", "email.approved", "email.decided"),
    "message.received": ("email.received", "inbound"),
}


def bring_about(tenant, name, **fields):
    """Cause an event, and return the id of its message."""
    if name == "message.received":
        return tenant.receive()["id"]
    sent = tenant.held(**fields)["id"]
    if name != "oversight.pending":
        ok(tenant.decide(sent, "approve", reason="because"))
    return sent


def test_signature_is_over_the_exact_bytes_with_the_callers_secret_or_one_of_the_gateways(
    tenant,
):
    own = "whsec_of our own, with ü and blanks"
    hooks = [
        tenant.subscribe("oversight.pending", secret=own),
        tenant.subscribe("oversight.pending"),
    ]
    assert hooks[0]["secret"] == hooks[0]["signing_secret"] == own
    assert re.fullmatch(r"whsec_.{26,}", hooks[1]["signing_secret"])
    subject = unique("Grüße ☕ 漢字")
    tenant.send(subject=subject, metadata={"ü": "é"})
    for hook in hooks:
        event = tenant.wait_for_events(hook)[0]
        expected = hmac.new(
            hook["signing_secret"].encode(), event.body, hashlib.sha256
        ).hexdigest()
        assert event.headers["X-MultiMail-Signature"] == f"sha256={expected}"
        assert event.headers["Content-Type"].startswith("application/json")
        assert event.headers["X-MultiMail-Event"] == event.said["event"]
        assert event.headers["X-MultiMail-Event-Id"] == event.said["event_id"]
        assert event.said["subject"] == subject


def test_payload_satisfies_each_variant_by_its_own_keys(tenant):
    hook = tenant.subscribe("email.decided", "oversight.pending")
    fields = {"subject": "Four", "metadata": {"discord_user": "ana#1"}}
    email_id = bring_about(
        tenant, "oversight.approved", markdown="Geheimwort", **fields
    )
    pending, decided = tenant.wait_for_events(hook, 2)
    assert b"Geheimwort" not in pending.body + decided.body
    for body, name in (
        (pending.said, "oversight.pending"),
        (decided.said, "email.decided"),
    ):
        at_top = {"id": email_id, "message_id": email_id, "mailbox": tenant.address}
        inside = {
            "email_id": email_id,
            "message_id": email_id,
            "from": tenant.address,
            "to": "dana@northwind.example",
            "direction": "outbound",
            "has_attachments": False,
        }
        names = dict.fromkeys(("event", "type", "event_type"), name)
        assert (at_top | names | {"subject": "Four"}).items() <= body.items(), name
        assert body["thread_id"]
        assert datetime.fromisoformat(body["timestamp"]).tzinfo
        assert body["data"].items() >= (inside | {"subject": "Four"}).items(), name
        assert body["data"]["metadata"] == {"discord_user": "ana#1"}
    assert decided.said["decision"] == decided.said["data"]["decision"] == "approved"
    assert decided.said["reason"] == "because"
    assert pending.said.get("decision") is None


def test_subscriber_gets_its_own_word_once(tenant):
    for name, others in SPELLINGS.items():
        hooks = {word: tenant.subscribe(word) for word in (name, *others)}
        email_id = bring_about(tenant, name)
        for word, hook in hooks.items():
            [body] = [event.said for event in tenant.wait_for_events(hook)]
            assert body["event"] == body["type"] == body["event_type"] == word
            assert body["email_id"] == email_id
            assert body["to"] == body["data"]["to"] == ", ".join(body["to_addresses"])


def let_the_pause_pass(tenant, hook):
    tenant.gateway.sql(
        "UPDATE gateway_webhookdelivery SET next_attempt_at = now() WHERE webhook_id = %s AND state = 'due'",
        hook["id"],
    )
    tenant.gateway.sweep()


def delivery_of(tenant, hook):
    rows = tenant.get("/v1/webhook-deliveries", key="admin")["deliveries"]
    return next(row for row in rows if row["url"].endswith(hook["path"]))


def waits_of(tenant, hook):
    waits = "SELECT extract(epoch FROM next_attempt_at - last_attempt_at) FROM gateway_webhookdelivery"
    [[seconds]] = tenant.gateway.sql(f"{waits} WHERE webhook_id = %s", hook["id"])
    return float(seconds)


def test_failing_endpoint_is_retried_three_times_with_the_same_bytes(tenant):
    hook = tenant.subscribe("oversight.pending")
    # A redirect is a failure too, and not followed.
    tenant.gateway.hooks.statuses[hook["path"]] = status = 302
    tenant.send()
    for attempt, pause in ((1, 10), (2, 60), (3, 300)):
        assert len(tenant.wait_for_events(hook, attempt)) == attempt
        shown = delivery_of(tenant, hook)
        assert (shown["attempts"], shown["status"]) == (attempt, "pending")
        assert shown["response_status"] == status
        assert pause - 1 <= waits_of(tenant, hook) <= pause * 1.5
        tenant.gateway.hooks.statuses[hook["path"]] = status = 500
        let_the_pause_pass(tenant, hook)
    assert delivery_of(tenant, hook)["status"] == "failed"
    let_the_pause_pass(tenant, hook)
    got = tenant.events(hook)
    assert len(got) == 4
    assert len({event.body for event in got}) == 1
    assert len({event.headers["X-MultiMail-Event-Id"] for event in got}) == 1


def test_events_of_one_message_come_in_their_order(tenant):
    hook = tenant.subscribe("oversight.pending", "oversight.approved", "message.sent")
    tenant.gateway.hooks.statuses[hook["path"]] = 500
    email_id = bring_about(tenant, "oversight.approved")
    tenant.wait_for_status(email_id, "sent")
    assert len(tenant.events(hook)) == 1
    tenant.gateway.hooks.statuses[hook["path"]] = 200
    let_the_pause_pass(tenant, hook)
    names = [event.said["event"] for event in tenant.events(hook)]
    assert names == [
        "oversight.pending",
        "oversight.pending",
        "oversight.approved",
        "message.sent",
    ]


def test_secret_stands_in_no_list_and_no_log(tenant):
    hook = tenant.subscribe("oversight.pending", secret="my own secret")
    tenant.send()
    tenant.wait_for_events(hook)
    listed = tenant.call("GET", "/v1/webhooks", key="admin")
    assert listed.json()["webhooks"] == listed.json()["subscriptions"]
    for path in ("/v1/webhooks", "/v1/webhook-deliveries", "/v1/audit-log"):
        assert "my own secret" not in tenant.call("GET", path, key="admin").text
    assert (
        tenant.get(f"/v1/webhooks/{hook['id']}", key="admin")["signing_secret"]
        == "my own secret"
    )
