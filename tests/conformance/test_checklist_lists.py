"""Idempotency, the guard of contents, sandbox keys.

Lines 33 and 34, of the lists, are proven with the gateway's own tests.
"""

from tests.conformance.tenant import ids_of, ok, unique

INSIDER = "dana@northwind.example"
OUTSIDER = "mallory@outside.example"


def stored(tenant):
    return tenant.get(f"{tenant.base}/emails")["emails"]


def test_same_key_twice_is_one_message(tenant):
    body = {"to": [INSIDER], "subject": "Once", "markdown": "Hello"}
    for key_fields in (
        {"headers": {"Idempotency-Key": "k-1"}},
        {"idempotency_key": "k-2"},
    ):
        first = tenant.send(**body, **key_fields)
        again = ok(tenant.submit(**body, **key_fields))
        assert again["status"] == "pending_send_approval"
        assert again["idempotent"] is True
        assert again["email_id"] == again["message_id"] == again["id"] == first["id"]
        assert not again.get("idempotency_mismatch")
        changed = ok(tenant.submit(**body | {"subject": "Else"}, **key_fields))
        assert changed["id"] == first["id"]
        assert changed["idempotency_mismatch"] is True
    ok(tenant.decide(first["id"], "approve"))
    tenant.wait_for_status(first["id"], "sent")
    assert ok(tenant.submit(**body, **key_fields))["status"] == "already_sent"
    assert len(stored(tenant)) == 2
    apart = tenant.send(key="sandbox agent", **body, idempotency_key="k-2")
    assert apart["id"] != first["id"]
    flat = {"from": tenant.address, "to": INSIDER, "subject": "Flat", "text": "Hello"}
    headers = {"Idempotency-Key": "k"}
    first, again = (
        tenant.call("POST", "/send_email", json=flat, headers=headers) for _ in range(2)
    )
    assert ok(again)["id"] == ok(first, 202)["id"]


def test_body_wins_over_header_replies_have_keys_of_their_own_and_a_failed_send_uses_none(
    tenant,
):
    received = tenant.receive()
    assert tenant.submit(idempotency_key="body", to=["nobody"]).status_code == 422
    first = tenant.send(idempotency_key="body", headers={"Idempotency-Key": "header"})
    second = tenant.send(headers={"Idempotency-Key": "header"})
    assert second["id"] != first["id"]
    assert ok(tenant.submit(idempotency_key="body"))["id"] == first["id"]
    path = f"{tenant.base}/reply/{received['id']}"
    body = {"markdown": "Hello", "idempotency_key": "body"}
    reply = ok(tenant.post(path, **body), 202)
    assert reply["id"] != first["id"]
    assert ok(tenant.post(path, **body))["id"] == reply["id"]


def test_key_is_free_again_after_a_day_but_not_after_a_cancel(tenant):
    first = tenant.held(idempotency_key="k")
    ok(tenant.cancel(first["id"]))
    earlier = "UPDATE gateway_idempotencyrecord SET expires_at = expires_at - %s::interval WHERE mailbox_id = %s"
    assert ok(tenant.submit(idempotency_key="k"))["id"] == first["id"]
    tenant.gateway.sql(earlier, "23 hours 55 minutes", tenant.mailbox)
    assert ok(tenant.submit(idempotency_key="k"))["id"] == first["id"]
    tenant.gateway.sql(earlier, "5 minutes", tenant.mailbox)
    assert tenant.send(idempotency_key="k")["id"] != first["id"]


def test_same_content_is_refused_for_a_minute(tenant):
    body = {"to": [INSIDER], "subject": "Twice", "markdown": "Hello"}
    first = tenant.send(**body)
    assert ok(tenant.submit(**body), 409)["error"]
    assert tenant.submit(**body | {"markdown": "Other"}).status_code == 202
    for field in ("to", "cc", "bcc"):
        assert tenant.submit(**body | {field: [OUTSIDER]}).status_code == 202, field
    assert tenant.submit(**body, reply_to=OUTSIDER).status_code == 202
    assert tenant.submit(**body, idempotency_key="k").status_code == 202
    # A minute later for the guard; before that it still applies.
    for passed, status in (("30 seconds", 409), ("30 seconds", 202)):
        tenant.gateway.sql(
            "UPDATE gateway_idempotencyrecord SET expires_at = expires_at - %s::interval WHERE email_id = %s",
            passed,
            first["id"],
        )
        assert tenant.submit(**body).status_code == status, passed


def test_live_agents_and_sandbox_keys_do_not_see_each_others_mail(tenant):
    for mine, theirs in (("sandbox agent", "agent"), ("agent", "sandbox agent")):
        sent = tenant.held(key=mine)
        assert tenant.status(sent["id"], key=theirs) == "absent"
        path = f"{tenant.base}/emails/{sent['id']}"
        assert tenant.call("GET", path, key=theirs).status_code == 404
        assert tenant.cancel(sent["id"], key=theirs).status_code == 404
        assert tenant.status(sent["id"], key=mine) == "pending_send_approval"


def test_live_overseer_sees_and_decides_sandbox_mail_which_never_leaves(tenant):
    """Point 3."""
    live = tenant.held()
    trial = tenant.held(key="sandbox agent", subject=unique("Trial"))
    rows = {row["id"]: row for row in tenant.pending()}
    assert rows[live["id"]]["sandbox"] is False
    assert rows[trial["id"]]["sandbox"] is True
    assert ids_of(tenant.pending(key="sandbox oversight")) == [trial["id"]]
    assert (
        tenant.decide(live["id"], "approve", key="sandbox oversight").status_code == 404
    )
    assert tenant.decide(trial["id"], "approve").status_code == 200
    tenant.wait_for_status(trial["id"], "sent", key="sandbox agent")
    assert tenant.gateway.mails(rows[trial["id"]]["subject"]) == []


def test_live_webhook_hears_of_sandbox_mail_unless_it_was_switched_off(tenant):
    both = tenant.subscribe("oversight.pending")
    live = tenant.subscribe("oversight.pending", include_sandbox=False)
    trial = tenant.held(key="sandbox agent")
    real = tenant.held()
    sandbox_of = {
        one.said["id"]: one.said["sandbox"] for one in tenant.wait_for_events(both, 2)
    }
    assert sandbox_of == {trial["id"]: True, real["id"]: False}
    assert [one.said["id"] for one in tenant.events(live)] == [real["id"]]
