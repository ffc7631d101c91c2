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


def refused(answer):
    return ok(answer, 403)["code"] == "recipient_not_allowed"


@pytest.mark.proves("contract 33")
def test_one_outsider_anywhere_refuses_the_whole_message(tenant):
    put_list(tenant, "restriction", "northwind.example")
    hook = tenant.subscribe("message.refused")
    for field in ("to", "cc", "bcc"):
        fields = {"to": [INSIDER]} | {field: [INSIDER, OUTSIDER]}
        told = ok(tenant.submit(metadata={"discord_user": "ana#1"}, markdown="Geheimwort", **fields), 403)
        assert told["code"] == "recipient_not_allowed"
        assert (OUTSIDER in told["error"], INSIDER in told["error"]) == (True, False)
    assert (stored(tenant), tenant.pending()) == ([], [])
    noted = tenant.call("GET", "/v1/refusals", key="admin").text
    assert [word in noted for word in (OUTSIDER, "ana#1", "Geheimwort")] == [True, True, False]
    events = tenant.wait_for_events(hook, 3)
    assert [event.body["event"] for event in events] == ["message.refused"] * 3
    assert OUTSIDER.encode() in events[0].raw
    assert b"Geheimwort" not in events[0].raw


@pytest.mark.proves("contract 33")
def test_flat_path_reply_and_additions_of_the_mailbox_are_checked_alike(tenant):
    received = tenant.receive()
    put_list(tenant, "restriction", "elsewhere.example")
    assert refused(tenant.call("POST", f"{tenant.base}/reply/{received['id']}", json={"markdown": "Hello"}))
    put_list(tenant, "restriction", "northwind.example")
    flat = {"from": tenant.address, "to": f"{INSIDER}, {OUTSIDER}", "subject": "x", "body": "y"}
    assert refused(tenant.call("POST", "/send_email", json=flat))
    assert tenant.submit().status_code == 202
    ok(tenant.call("PATCH", tenant.base, key="admin", json={"auto_bcc": OUTSIDER}))
    assert refused(tenant.submit())
    assert len(stored(tenant)) == 2


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
    assert refused(tenant.submit())
    put_list(tenant, "restriction")
    assert tenant.submit().status_code == 403


GRAMMAR = [
    *(("Dana@Northwind.example", INSIDER, True), ("dana@northwind.example", "dan@northwind.example", False)),
    *(("northwind.example.", INSIDER, True), ("northwind.example", "x@sub.northwind.example", False)),
    *(("*.northwind.example", "x@sub.northwind.example", True), ("*.northwind.example", INSIDER, False)),
    *(("*@northwind.example", INSIDER, True), ("bücher.example", "x@xn--bcher-kva.example", True)),
    ("northwind.example", "x@evilnorthwind.example", False),
    ("northwind.example", "x@northwind.example.evil", False),
]


@pytest.mark.proves("contract 33")
def test_grammar_modes_and_versions_of_a_restriction(tenant):
    wrong = []
    for pattern, address, passes in GRAMMAR:
        put_list(tenant, "restriction", pattern)
        if (tenant.submit(to=[address]).status_code == 202) != passes:
            wrong.append((pattern, address))
    assert wrong == []
    for mode in ("monitor", "off"):
        put_list(tenant, "restriction", "northwind.example", mode=mode)
        assert tenant.submit(to=[OUTSIDER]).status_code == 202, mode
    ok(tenant.call("POST", "/v1/contacts", json={"email": INSIDER}), 201)
    last = put_list(tenant, "restriction", "listed.example", mode="contacts")
    assert tenant.submit(to=[INSIDER, "x@listed.example"]).status_code == 202
    assert refused(tenant.submit(to=[INSIDER, OUTSIDER]))
    older = {"kind": "restriction", "mode": "off", "version": last["version"] - 1, "entries": []}
    assert ok(tenant.call("PUT", f"{tenant.base}/allowlist", key="admin", json=older), 409)["error"]
    shown = tenant.get(f"{tenant.base}/allowlist", key="admin", kind="restriction")
    assert (shown["mode"], [row["pattern"] for row in shown["entries"]]) == ("contacts", ["listed.example"])


@pytest.mark.proves("contract 34")
def test_message_to_listed_people_only_skips_the_queue_and_one_unlisted_gates_it(tenant):
    put_list(tenant, "bypass", "northwind.example", "bo@partner.example")
    subject = unique("Bypass")
    sent = tenant.send(subject=subject, to=[INSIDER], cc=["bo@partner.example"])
    assert sent["oversight_status"] == "not_required"
    assert tenant.wait_for_mails(subject)
    assert tenant.pending() == []
    for field in ("to", "cc", "bcc"):
        gated = tenant.send(**({"to": [INSIDER]} | {field: [INSIDER, OUTSIDER]}))
        assert gated["oversight_status"] == "pending_approval", field
        assert tenant.wait_for_status(gated["id"], "pending_send_approval")
    assert tenant.send(oversight_mode="gated_all")["oversight_status"] == "pending_approval"
    ok(tenant.call("PATCH", tenant.base, key="admin", json={"auto_cc": OUTSIDER}))
    assert tenant.send()["oversight_status"] == "pending_approval"


@pytest.mark.proves("contract 34")
def test_bypass_that_is_not_in_force_or_empty_bypasses_nobody(make_tenant):
    gated, closed = make_tenant("gated_all"), make_tenant("read_only")
    for tenant in (gated, closed):
        put_list(tenant, "bypass", "northwind.example")
    assert gated.send()["oversight_status"] == "pending_approval"
    assert closed.submit().status_code == 403
    tenant = make_tenant()
    for mode in ("monitor", "off"):
        put_list(tenant, "bypass", "northwind.example", mode=mode)
        assert tenant.send()["oversight_status"] == "pending_approval", mode
    put_list(tenant, "bypass")
    assert tenant.send()["oversight_status"] == "pending_approval"
    # And a restriction comes before it.
    put_list(tenant, "bypass", "northwind.example", "outside.example")
    put_list(tenant, "restriction", "northwind.example")
    assert tenant.submit(to=[OUTSIDER]).status_code == 403
    assert tenant.send()["oversight_status"] == "not_required"


@pytest.mark.proves("contract 35")
def test_same_key_twice_is_one_message(tenant):
    body = {"to": [INSIDER], "subject": "Once", "markdown": "Hello"}
    for given in ({"headers": {"Idempotency-Key": "k-1"}}, {"idempotency_key": "k-2"}):
        first = tenant.send(**body, **given)
        again = ok(tenant.submit(**body, **given))
        assert (again["id"], again["status"], again["idempotent"]) == (first["id"], "already_sent", True)
        assert again["thread_id"] == first["thread_id"]
        assert again["email_id"] == again["message_id"] == first["id"]
        assert not again.get("idempotency_mismatch")
        changed = ok(tenant.submit(**body | {"subject": "Else"}, **given))
        assert (changed["id"], changed["idempotency_mismatch"]) == (first["id"], True)
    assert len(stored(tenant)) == 2
    flat = {"from": tenant.address, "to": INSIDER, "subject": "Flat", "text": "Hello"}
    answers = [tenant.call("POST", "/send_email", json=flat, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    first, again = ok(answers[0], 202), ok(answers[1])
    assert (again["id"], again["status"], again["idempotent"]) == (first["id"], "queued", True)


@pytest.mark.proves("contract 35")
def test_body_wins_over_header_replies_have_keys_of_their_own_and_a_failed_send_uses_none(tenant):
    received = tenant.receive()
    assert tenant.submit(idempotency_key="body", to=["nobody"]).status_code == 422
    first = tenant.send(idempotency_key="body", headers={"Idempotency-Key": "header"})
    second = tenant.send(headers={"Idempotency-Key": "header"})
    assert second["id"] != first["id"]
    assert ok(tenant.submit(idempotency_key="body"))["id"] == first["id"]
    path, body = f"{tenant.base}/reply/{received['id']}", {"markdown": "Hello", "idempotency_key": "body"}
    reply = ok(tenant.call("POST", path, json=body), 202)
    assert reply["id"] != first["id"]
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


@pytest.mark.proves("contract 36", "case 19")
def test_twenty_sends_at_once_with_one_key_are_one_message(product):
    known, subject = product.known, unique("Twenty")
    body = {"to": [INSIDER], "subject": subject, "markdown": "Hello", "idempotency_key": subject}
    path = f"/v1/mailboxes/{known['MAILBOX_ID']}"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: product.call("POST", f"{path}/send", json=body), range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    [email_id] = {answer.json()["id"] for answer in answers}
    listed = product.call("GET", f"{path}/emails", params={"subject_contains": subject}).json()["emails"]
    assert [row["id"] for row in listed] == [email_id]


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
    path = f"{tenant.base}/reply/{tenant.receive()['id']}"
    assert [tenant.call("POST", path, json={"markdown": "Soon"}).status_code for _ in range(2)] == [202, 409]


@pytest.mark.proves("contract 38")
def test_approved_sandbox_mail_stays_inside_and_tells_its_events(tenant):
    hook = tenant.subscribe("oversight.approved", "message.sent", "message.delivered")
    subject, other = unique("Sandbox"), unique("Live")
    sent, live = tenant.held(key="sandbox agent", subject=subject), tenant.held(subject=other)
    assert [row["id"] for row in tenant.pending(key="sandbox oversight")] == [sent["id"]]
    told = ok(tenant.decide(sent["id"], "approve", key="sandbox oversight"))
    assert told["status"] == "approved_and_sent"
    events = [event.body["event"] for event in tenant.wait_for_events(hook, 3)]
    assert events == ["oversight.approved", "message.sent", "message.delivered"]
    assert tenant.wait_for_status(sent["id"], "sent", key="sandbox agent")
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
