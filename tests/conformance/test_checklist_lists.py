"""Lines 33 to 38 of the contract's checklist: allowlists, idempotency, the guard of contents, sandbox keys."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.tenant import ok, unique

INSIDER, OUTSIDER = "dana@northwind.example", "mallory@outside.example"


def put_list(tenant, kind, *patterns, mode="enforce", status=200):
    """Replace a list as it stands; a pattern may be an entry of its own."""
    version = tenant.get(f"{tenant.base}/allowlist", key="admin", kind=kind)["version"]
    entries = [{"pattern": one} if isinstance(one, str) else one for one in patterns]
    body = {"kind": kind, "mode": mode, "version": version, "entries": entries}
    return ok(tenant.call("PUT", f"{tenant.base}/allowlist", key="admin", json=body), status)


def stored(tenant):
    return tenant.get(f"{tenant.base}/emails")["emails"]


@pytest.mark.proves("contract 33")
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_one_outsider_anywhere_refuses_the_whole_message(tenant, field):
    put_list(tenant, "restriction", "northwind.example")
    hook = tenant.subscribe("message.refused")
    fields = {"to": [INSIDER]} | {field: [INSIDER, OUTSIDER]}
    told = ok(tenant.submit(metadata={"discord_user": "ana#1"}, markdown="Geheimwort", **fields), 403)
    assert told["code"] == "recipient_not_allowed"
    assert OUTSIDER in told["error"]
    assert INSIDER not in told["error"]
    assert stored(tenant) == []
    assert tenant.pending() == []
    answer = tenant.call("GET", "/v1/refusals", key="admin")
    assert OUTSIDER in answer.text
    assert "ana#1" in answer.text
    assert "Geheimwort" not in answer.text
    event = tenant.wait_for_events(hook)[0]
    assert event.body["event"] == "message.refused"
    assert OUTSIDER.encode() in event.raw
    assert b"Geheimwort" not in event.raw


@pytest.mark.proves("contract 33")
def test_the_flat_path_and_the_mailbox_additions_are_checked_alike(tenant):
    put_list(tenant, "restriction", "northwind.example")
    flat = {"from": tenant.address, "to": f"{INSIDER}, {OUTSIDER}", "subject": "x", "body": "y"}
    assert ok(tenant.call("POST", "/send_email", json=flat), 403)["code"] == "recipient_not_allowed"
    assert tenant.submit().status_code == 202
    ok(tenant.call("PATCH", tenant.base, key="admin", json={"auto_bcc": OUTSIDER}))
    assert ok(tenant.submit(), 403)["code"] == "recipient_not_allowed"
    assert len(stored(tenant)) == 1


@pytest.mark.proves("contract 33")
def test_a_reply_is_checked_too(tenant):
    received = tenant.receive()
    put_list(tenant, "restriction", "elsewhere.example")
    answer = tenant.call("POST", f"{tenant.base}/reply/{received['id']}", json={"markdown": "Hello"})
    assert ok(answer, 403)["code"] == "recipient_not_allowed"
    assert [row["id"] for row in stored(tenant)] == [received["id"]]


@pytest.mark.proves("contract 33")
def test_the_last_entrys_expiry_does_not_open_the_gate(tenant):
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    put_list(tenant, "restriction", {"pattern": "northwind.example", "expires_at": later, "note": "for now"})
    assert tenant.submit().status_code == 202
    tenant.gateway.sql(
        "UPDATE gateway_allowlistentry SET expires_at = now() - interval '1 second' FROM gateway_allowlist list"
        " WHERE list.id = allowlist_id AND list.mailbox_id = %s",
        tenant.mailbox,
    )
    assert ok(tenant.submit(), 403)["code"] == "recipient_not_allowed"
    put_list(tenant, "restriction")
    assert tenant.submit().status_code == 403


@pytest.mark.proves("contract 33")
@pytest.mark.parametrize(
    ("pattern", "address", "passes"),
    [
        *(("Dana@Northwind.example", INSIDER, True), ("dana@northwind.example", "dan@northwind.example", False)),
        *(("northwind.example.", INSIDER, True), ("northwind.example", "x@sub.northwind.example", False)),
        *(("*.northwind.example", "x@sub.northwind.example", True), ("*.northwind.example", INSIDER, False)),
        *(("*@northwind.example", INSIDER, True), ("bücher.example", "x@xn--bcher-kva.example", True)),
        *(
            ("northwind.example", "x@evilnorthwind.example", False),
            ("northwind.example", "x@northwind.example.evil", False),
        ),
    ],
)
def test_grammar_of_entries(tenant, pattern, address, passes):
    put_list(tenant, "restriction", pattern)
    assert tenant.submit(to=[address]).status_code == (202 if passes else 403)


@pytest.mark.proves("contract 33")
def test_monitor_lets_through_and_off_does_nothing(tenant):
    for mode in ("monitor", "off"):
        put_list(tenant, "restriction", "northwind.example", mode=mode)
        assert tenant.submit(to=[OUTSIDER]).status_code == 202, mode


@pytest.mark.proves("contract 33")
def test_mode_contacts_takes_contacts_and_the_list(tenant):
    ok(tenant.call("POST", "/v1/contacts", json={"email": INSIDER}), 201)
    put_list(tenant, "restriction", "listed.example", mode="contacts")
    assert tenant.submit(to=[INSIDER, "x@listed.example"]).status_code == 202
    assert ok(tenant.submit(to=[INSIDER, OUTSIDER]), 403)["code"] == "recipient_not_allowed"


@pytest.mark.proves("contract 33")
def test_older_version_is_409(tenant):
    first = put_list(tenant, "restriction", "northwind.example")
    body = {"kind": "restriction", "mode": "off", "version": first["version"] - 1, "entries": []}
    assert ok(tenant.call("PUT", f"{tenant.base}/allowlist", key="admin", json=body), 409)["error"]
    shown = tenant.get(f"{tenant.base}/allowlist", key="admin", kind="restriction")
    assert (shown["mode"], [row["pattern"] for row in shown["entries"]]) == ("enforce", ["northwind.example"])


@pytest.mark.proves("contract 34")
def test_message_to_listed_people_only_skips_the_queue(tenant):
    put_list(tenant, "bypass", "northwind.example", "bo@partner.example")
    subject = unique("Bypass")
    sent = tenant.send(subject=subject, to=[INSIDER], cc=["bo@partner.example"])
    assert sent["oversight_status"] == "not_required"
    assert tenant.wait_for_mails(subject)
    assert tenant.pending() == []


@pytest.mark.proves("contract 34")
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_one_unlisted_recipient_gates_the_whole_message(tenant, field):
    put_list(tenant, "bypass", "northwind.example")
    sent = tenant.send(**({"to": [INSIDER]} | {field: [INSIDER, OUTSIDER]}))
    assert sent["oversight_status"] == "pending_approval"
    assert tenant.wait_for_status(sent["id"], "pending_send_approval")


@pytest.mark.proves("contract 34")
def test_unlisted_addition_of_the_mailbox_gates_too(tenant):
    put_list(tenant, "bypass", "northwind.example")
    ok(tenant.call("PATCH", tenant.base, key="admin", json={"auto_cc": OUTSIDER}))
    assert tenant.send()["oversight_status"] == "pending_approval"


@pytest.mark.proves("contract 34")
@pytest.mark.parametrize("mode", ["monitor", "off"])
def test_bypass_that_is_not_enforced_and_an_empty_one_bypass_nobody(tenant, mode):
    put_list(tenant, "bypass", "northwind.example", mode=mode)
    assert tenant.send()["oversight_status"] == "pending_approval"
    put_list(tenant, "bypass")
    assert tenant.send()["oversight_status"] == "pending_approval"


@pytest.mark.proves("contract 34")
def test_bypass_has_no_effect_in_gated_all_nor_read_only(make_tenant):
    gated, closed = make_tenant("gated_all"), make_tenant("read_only")
    for tenant in (gated, closed):
        put_list(tenant, "bypass", "northwind.example")
    sent = gated.send()
    assert sent["oversight_status"] == "pending_approval"
    assert gated.wait_for_status(sent["id"], "pending_send_approval")
    assert closed.submit().status_code == 403


@pytest.mark.proves("contract 34")
def test_call_that_tightens_to_gated_all_is_not_bypassed(tenant):
    put_list(tenant, "bypass", "northwind.example")
    assert tenant.send(oversight_mode="gated_all")["oversight_status"] == "pending_approval"


@pytest.mark.proves("contract 34")
def test_restriction_comes_before_bypass(tenant):
    put_list(tenant, "bypass", "northwind.example", "outside.example")
    put_list(tenant, "restriction", "northwind.example")
    assert tenant.submit(to=[OUTSIDER]).status_code == 403
    assert tenant.send()["oversight_status"] == "not_required"


@pytest.mark.proves("contract 35")
@pytest.mark.parametrize("where", ["body", "header"])
def test_same_key_twice_is_one_message(tenant, where):
    body = {"to": [INSIDER], "subject": "Once", "markdown": "Hello"}
    given = {"headers": {"Idempotency-Key": "k-1"}} if where == "header" else {"idempotency_key": "k-1"}
    first = tenant.send(**body, **given)
    again = ok(tenant.submit(**body, **given))
    assert (again["id"], again["status"], again["idempotent"]) == (first["id"], "already_sent", True)
    assert again["thread_id"] == first["thread_id"]
    assert again["email_id"] == again["message_id"] == first["id"]
    assert not again.get("idempotency_mismatch")
    other = ok(tenant.submit(**body | {"subject": "Else"}, **given))
    assert (other["id"], other["idempotency_mismatch"]) == (first["id"], True)
    assert len(stored(tenant)) == 1


@pytest.mark.proves("contract 35")
def test_flat_repeat_is_queued(tenant):
    body = {"from": tenant.address, "to": INSIDER, "subject": "Once", "text": "Hello"}
    answers = [tenant.call("POST", "/send_email", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    first, again = ok(answers[0], 202), ok(answers[1])
    assert (again["id"], again["status"], again["idempotent"]) == (first["id"], "queued", True)


@pytest.mark.proves("contract 35")
def test_body_wins_over_header(tenant):
    first = tenant.send(idempotency_key="body", headers={"Idempotency-Key": "header"})
    second = tenant.send(headers={"Idempotency-Key": "header"})
    assert second["id"] != first["id"]
    assert ok(tenant.submit(idempotency_key="body"))["id"] == first["id"]


@pytest.mark.proves("contract 35")
def test_reply_and_send_keep_their_keys_apart(tenant):
    received = tenant.receive()
    sent = tenant.send(idempotency_key="k")
    path = f"{tenant.base}/reply/{received['id']}"
    body = {"markdown": "Hello", "idempotency_key": "k"}
    reply = ok(tenant.call("POST", path, json=body), 202)
    assert reply["id"] != sent["id"]
    assert ok(tenant.call("POST", path, json=body))["id"] == reply["id"]


@pytest.mark.proves("contract 35")
def test_key_is_free_again_after_a_day_but_not_after_a_cancel(tenant):
    first = tenant.held(idempotency_key="k")
    ok(tenant.cancel(first["id"]))
    earlier = "UPDATE gateway_idempotencyrecord SET expires_at = expires_at - %s::interval WHERE mailbox_id = %s"
    assert ok(tenant.submit(idempotency_key="k"))["id"] == first["id"]
    tenant.gateway.sql(earlier, "23 hours 55 minutes", tenant.mailbox)
    assert ok(tenant.submit(idempotency_key="k"))["id"] == first["id"]
    tenant.gateway.sql(earlier, "5 minutes", tenant.mailbox)
    assert tenant.send(idempotency_key="k")["id"] != first["id"]


@pytest.mark.proves("contract 35")
def test_failed_validation_keeps_the_key_free(tenant):
    assert tenant.submit(idempotency_key="k", to=["nobody"]).status_code == 422
    assert tenant.submit(idempotency_key="k").status_code == 202


@pytest.mark.proves("contract 36", "case 19")
def test_twenty_sends_at_once_with_one_key_are_one_message(tenant):
    body = {"to": [INSIDER], "subject": unique("Twenty"), "markdown": "Hello", "idempotency_key": "k"}
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: tenant.submit(**body), range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(stored(tenant)) == 1


@pytest.mark.proves("contract 37")
def test_same_content_is_refused_for_a_minute(tenant):
    body = {"to": [INSIDER], "subject": "Twice", "markdown": "Hello"}
    first = tenant.send(**body)
    assert ok(tenant.submit(**body), 409)["error"]
    assert tenant.submit(**body | {"markdown": "Other"}).status_code == 202
    assert tenant.submit(**body | {"to": [OUTSIDER]}).status_code == 202
    assert tenant.submit(**body, idempotency_key="k").status_code == 202
    # A minute later, as far as the guard can tell; before that it still holds.
    for passed, status in (("30 seconds", 409), ("30 seconds", 202)):
        tenant.gateway.sql(
            "UPDATE gateway_idempotencyrecord SET expires_at = expires_at - %s::interval WHERE email_id = %s",
            *(passed, first["id"]),
        )
        assert tenant.submit(**body).status_code == status, passed


@pytest.mark.proves("contract 37")
def test_same_reply_is_refused_for_a_minute(tenant):
    received = tenant.receive()
    path = f"{tenant.base}/reply/{received['id']}"
    assert tenant.call("POST", path, json={"markdown": "Soon"}).status_code == 202
    assert tenant.call("POST", path, json={"markdown": "Soon"}).status_code == 409


@pytest.mark.proves("contract 38")
def test_approved_sandbox_mail_stays_inside_and_tells_its_events(tenant):
    hook = tenant.subscribe("oversight.approved", "message.sent", "message.delivered")
    subject = unique("Sandbox")
    sent = tenant.send(key="sandbox agent", subject=subject)
    assert [row["id"] for row in tenant.pending(key="sandbox oversight")] == [sent["id"]]
    told = ok(tenant.decide(sent["id"], "approve", key="sandbox oversight"))
    assert told["status"] == "approved_and_sent"
    events = [event.body["event"] for event in tenant.wait_for_events(hook, 3)]
    assert events == ["oversight.approved", "message.sent", "message.delivered"]
    assert tenant.wait_for_status(sent["id"], "sent", key="sandbox agent")
    live = tenant.send(subject=(other := unique("Live")))
    ok(tenant.decide(live["id"], "approve"))
    tenant.wait_for_mails(other)
    assert tenant.gateway.mails(subject) == []


@pytest.mark.proves("contract 38")
def test_live_and_sandbox_keys_do_not_see_each_others_mail(tenant):
    for mine, theirs, judge in (
        ("sandbox agent", "agent", "oversight"),
        ("agent", "sandbox agent", "sandbox oversight"),
    ):
        sent = tenant.held(key=mine)
        assert tenant.status(sent["id"], key=theirs) == "absent"
        assert tenant.call("GET", f"{tenant.base}/emails/{sent['id']}", key=theirs).status_code == 404
        assert tenant.call("GET", f"/read_email?id={sent['id']}", key=theirs).status_code == 404
        assert sent["id"] not in [row["id"] for row in tenant.pending(key=judge)]
        assert tenant.decide(sent["id"], "approve", key=judge).status_code == 404
        assert tenant.cancel(sent["id"], key=theirs).status_code == 404
        assert tenant.status(sent["id"], key=mine) == "pending_send_approval"


@pytest.mark.proves("contract 38")
def test_sandbox_mail_uses_no_quota(make_tenant):
    tenant = make_tenant("autonomous")
    tenant.gateway.sql("UPDATE gateway_account SET monthly_email_quota = 1 WHERE id = %s", tenant.account)
    for _ in range(3):
        tenant.send(key="sandbox agent")
    tenant.send()
    assert tenant.submit().status_code == 429
