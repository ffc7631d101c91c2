"""Mail servers that stall, hang up and refuse, and workers killed on the way to them, with the gateway as processes."""

import pytest

from tests.conformance.tenant import ok, unique

pytestmark = pytest.mark.xdist_group("gateway-faults")


def approve(tenant, **fields):
    """Have a letter approved, and return its id and subject."""
    subject = unique("Fault")
    sent = tenant.held(subject=subject, **fields)
    ok(tenant.decide(sent["id"], "approve"))
    return sent["id"], subject


def kill_the_worker(rig):
    """Kill the worker, and let the leases that it held end: they would by themselves, in minutes."""
    stack = rig.gateway.stack
    before = stack.kill("worker-out")
    stack.wait_for(lambda: stack.pids().get("worker-out", before) != before, timeout=20, what="another worker")
    rig.gateway.sql("UPDATE gateway_email SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")
    rig.gateway.sweep()


def facts(tenant, email_id):
    [row] = tenant.gateway.sql(
        "SELECT status, fate_unknown, attempts, data_attempted_at IS NOT NULL FROM gateway_email WHERE id = %s",
        email_id,
    )
    return row


def assert_never_repeated(rig, tenant, email_id, subject):
    """Bring about whatever could make the gateway send it again, and something else that shows the sweep has run."""
    rig.mail.mood = "ok"
    rig.gateway.sql("UPDATE gateway_email SET due_at = now(), lease_until = NULL WHERE id = %s", email_id)
    rig.gateway.sweep()
    _, after = approve(tenant)
    tenant.wait_for_mails(after)
    assert len(rig.gateway.mails(subject)) == 1


def test_worker_killed_between_claim_and_message_sends_once(rig, tenant):
    rig.mail.mood, mails = "stall early", rig.mail.mails
    email_id, subject = approve(tenant)
    tenant.wait(lambda: rig.mail.mails > mails, "the worker to begin with the mail server")
    assert facts(tenant, email_id) == ("scheduled", False, 1, False)
    rig.mail.mood = "ok"
    kill_the_worker(rig)
    tenant.wait_for_status(email_id, "sent")
    assert (len(rig.gateway.mails(subject)), facts(tenant, email_id)[1:3]) == (1, (False, 2))


def test_worker_killed_while_the_mail_server_has_the_message_never_repeats_it(rig, tenant):
    rig.mail.mood = "stall"
    hook = tenant.subscribe("message.sent")
    email_id, subject = approve(tenant)
    tenant.wait_for_mails(subject)
    kill_the_worker(rig)
    tenant.wait_for_status(email_id, "sent")
    assert facts(tenant, email_id)[1] is True
    assert_never_repeated(rig, tenant, email_id, subject)
    assert [event.body["email_id"] for event in tenant.events(hook)].count(email_id) == 0


def test_server_that_hangs_up_after_the_message_is_not_asked_again(rig, tenant):
    rig.mail.mood = "drop"
    hook = tenant.subscribe("message.sent")
    email_id, subject = approve(tenant)
    tenant.wait_for_status(email_id, "sent")
    assert facts(tenant, email_id) == ("sent", True, 1, True)
    assert tenant.read(email_id)["fate_unknown"] is True
    assert any(entry["action"] == "email.fate_unknown" for entry in tenant.audit())
    assert_never_repeated(rig, tenant, email_id, subject)
    assert [event.body["email_id"] for event in tenant.events(hook)].count(email_id) == 0


def test_server_that_hangs_up_before_the_message_gets_it_later(rig, tenant):
    rig.mail.mood = "hang up"
    email_id, subject = approve(tenant)
    tenant.wait(lambda: facts(tenant, email_id)[2] == 1, "an attempt")
    assert tenant.status(email_id) == "scheduled"
    rig.mail.mood = "ok"

    def left():
        rig.gateway.sql("UPDATE gateway_email SET due_at = now() WHERE id = %s AND lease_until IS NULL", email_id)
        rig.gateway.sweep()
        return rig.gateway.mails(subject)

    tenant.wait(left, "the mail to leave")
    tenant.wait_for_status(email_id, "sent")
    assert len(rig.gateway.mails(subject)) == 1


def test_one_refused_recipient_bounces_and_the_others_get_it(rig, tenant):
    rig.mail.refuse = {"gone@northwind.example": "550 no such user"}
    hook = tenant.subscribe("message.bounced", "message.sent")
    email_id, subject = approve(tenant, to=["dana@northwind.example", "gone@northwind.example"])
    tenant.wait_for_status(email_id, "sent")
    sent, bounced = (event.body for event in tenant.wait_for_events(hook, 2))
    assert (sent["event"], bounced["event"]) == ("message.sent", "message.bounced")
    assert (bounced["email_id"], bounced["bounce_code"]) == (email_id, 550)
    assert bounced["bounced_recipients"] == ["gone@northwind.example"]
    assert rig.gateway.recipients(subject) == {"dana@northwind.example"}
