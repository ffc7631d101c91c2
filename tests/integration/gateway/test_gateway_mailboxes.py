"""Mailboxes: created under the account's own domains, tightened freely, never loosened,
and deleted for good.
"""

from django.core.management import call_command

from gateway import tasks
from gateway.messages import decisions, outbox
from gateway.messages.content import AI_DISCLOSURE
from gateway.models import ApprovalRequest, AuditLogEntry, Domain, Email, Mailbox
from gateway.states import Mode, Status
from tests.integration.gateway.world import (
    add_key,
    bad_field_of,
    events_of,
    leave,
    make_inbound,
    refusal_of,
    status_of,
    times_noted,
)

MODES = [str(mode) for mode in Mode]


def post(world, path="/v1/mailboxes", key="admin", **fields):
    return world.post(path, key=key, **fields)


def create(world, address="new@acme.example", **fields):
    return post(world, address=address, **fields)


def patch(world, key="admin", **fields):
    return world.patch(world.base, key=key, **fields)


def delete(world, mailbox_id):
    return world.delete(f"/v1/mailboxes/{mailbox_id}")


def test_mailbox_is_created_and_sends(world):
    for number, path in enumerate(("/v1/mailboxes", "/create_mailbox")):
        body = {
            "address": f"New+Box{number}@ACME.example",
            "display_name": "New",
            "oversight_mode": "gated_send",
        }
        answer = post(world, path, **body, color="red")
        made = answer.json()
        assert answer.status_code == 201, path
        assert made.pop("ignored_fields") == ["color"], path
        address = f"new+box{number}@acme.example"
        assert made["address"] == address
        assert made["display_name"] == "New"
        assert made["is_active"] == 1
        assert world.get(f"/v1/mailboxes/{address}") == made
        message = {"to": "a@x.example", "subject": "", "body": "x"}
        assert (
            world.post(f"/v1/mailboxes/{made['id']}/send", **message).status_code == 202
        )
        assert (
            AuditLogEntry.objects.filter(
                action="mailbox.created", resource_id=made["id"]
            ).count()
            == 1
        )


def test_local_part_alone_uses_the_oldest_active_domain(world):
    Domain.objects.create(
        account=world.account, domain="later.example", status="active", token="t"
    )
    for field in ("address", "address_local"):
        assert (
            post(world, **{field: field}).json()["address"] == f"{field}@acme.example"
        )
    Domain.objects.all().update(status="pending")
    answer = post(world, address_local="x")
    assert bad_field_of(answer) == (422, "address_local")


def test_mailbox_with_an_inactive_domain_or_an_invalid_field_is_refused(world, other):
    Domain.objects.create(account=world.account, domain="pending.example", token="t")
    for domain in ("elsewhere.example", "pending.example", "globex.example"):
        answer = create(world, f"a@{domain}")
        assert answer.status_code == 422
        assert answer.json()["field"] == "address"
        assert domain in answer.json()["error"]
    many = ", ".join(f"{'x' * 40}{n}@{'y' * 60}.example" for n in range(30))
    bad = [
        {"address": ""}, {"address": "no spaces@acme.example"}, {"address": '"q"@acme.example'}, {"ai_disclosure": 2},
        {"display_name": "a\r\nBcc: x@y.example"}, {"display_name": "=?utf-8?q?boss?="}, {"oversight_mode": "loose"},
        {"signature_block": "x" * 201}, {"auto_cc": "nobody"}, {"auto_bcc": many}, {"default_gate_timing": "never"},
    ]  # fmt: skip
    answers = [(fields, create(world, **fields)) for fields in bad]
    assert [
        one for one, got in answers if refusal_of(got) != (422, "invalid_field")
    ] == []
    assert Mailbox.objects.filter(account=world.account).count() == 1


def test_mode_at_creation_is_taken_if_it_is_strict(world):
    expected = {one: one for one in ("read_only", "gated_all", "gated_send")}
    expected |= dict.fromkeys(("monitored", "Autonomous", None), "gated_send")
    for number, (asked, got) in enumerate(expected.items()):
        body = create(world, f"n{number}@acme.example", oversight_mode=asked).json()
        assert (
            body["oversight_mode"]
            == Mailbox.objects.get(pk=body["id"]).oversight_mode
            == got
        ), asked


def test_patch_tightens_and_never_loosens(world):
    for index, start in enumerate(MODES):
        # The next ones on either side, and the two ends.
        for wanted in {MODES[0], *MODES[max(index - 1, 0) : index + 2], MODES[-1]}:
            Mailbox.objects.update(oversight_mode=start, display_name="Support")
            path = world.base + ("/configure" if index % 2 else "")
            fields = {"oversight_mode": wanted, "display_name": "Changed"}
            answer = world.patch(path, **fields)
            world.mailbox.refresh_from_db()
            stored = world.mailbox.oversight_mode, world.mailbox.display_name
            if MODES.index(wanted) <= MODES.index(start):
                assert answer.json()["status"] == "updated", start
                assert stored == (wanted, "Changed"), start
            else:
                assert refusal_of(answer) == (403, "upgrade_needed")
                assert stored == (start, "Support"), wanted


def test_patch_sets_and_null_clears(world):
    switches = {
        "forward_inbound": 0,
        "ai_disclosure": 1,
        "scheduling_enabled": 0,
    }
    switches |= {
        "allow_looser_per_call": True,
        "default_gate_timing": "schedule_first",
        "display_name": "Team",
    }
    texts = {
        "auto_cc": "A@x.example, b@x.example",
        "auto_bcc": "c@x.example",
        "signature_block": "The team",
    }
    fields = (
        texts
        | switches
        | {"auto_cc": "A@x.example, b@X.example", "auto_bcc": ["c@x.example"]}
    )
    updated = patch(world, **fields).json()
    assert {name: updated[name] for name in texts | switches} == texts | switches
    cleared = dict.fromkeys((*texts, "display_name", "ai_disclosure"))
    updated = patch(world, **cleared).json()
    assert {name: updated[name] for name in cleared} == cleared | {
        "display_name": "",
        "ai_disclosure": 1,
    }
    body = {"mcp_configured": 0, "forward_inbound": 0, "oversight_mode": "gated_send"}
    updated = world.patch(f"{world.base}/configure", **body).json()
    assert updated["mcp_configured"] == 0
    assert updated["forward_inbound"] == 0
    assert updated["id"] == world.mailbox.pk
    assert world.get(world.base)["mcp_configured"] == 0


def test_sending_key_allows_looser_calls_only_with_an_operator_code(world):
    add_key(world, "both", ["send", "admin"])
    assert patch(world, key="both", allow_looser_per_call=True).status_code == 202
    assert create(world).status_code == 201
    body = {"address": "y@acme.example", "allow_looser_per_call": 1}
    assert post(world, key="both", **body).status_code == 202
    assert not Mailbox.objects.filter(allow_looser_per_call=True).exists()
    code = ApprovalRequest.objects.get(action="update_mailbox").code
    updated = patch(
        world, key="both", allow_looser_per_call=True, approval_code=code
    ).json()
    assert updated["allow_looser_per_call"] is True
    assert patch(world, key="both", allow_looser_per_call=False).status_code == 200


def test_change_of_additions_reaches_held_mail_until_it_is_approved(world, mail_server):
    email_id = world.held()
    before = world.pending()["pending"][0]["fingerprint"]
    patch(world, auto_bcc="archive@acme.example", signature_block="The team")
    row = world.pending()["pending"][0]
    additions = {
        "auto_bcc": "archive@acme.example",
        "signature": "The team",
        "ai_disclosure": AI_DISCLOSURE,
    }
    assert row["additions"] == additions
    assert (
        world.decide(email_id, expected_fingerprint=before).json()["code"]
        == "content_changed"
    )
    assert (
        world.decide(email_id, expected_fingerprint=row["fingerprint"]).status_code
        == 200
    )
    patch(world, auto_bcc=None)
    assert Email.objects.get(pk=email_id).additions == additions
    assert leave(email_id) == "sent"


def test_ai_disclosure_cannot_be_switched_off(world):
    calls = {"POST": "/v1/mailboxes", "PATCH": world.base}
    for value in (False, 0, "false"):
        for method, path in (*calls.items(), ("PATCH", f"{world.base}/configure")):
            body = {"address": "n@acme.example", "ai_disclosure": value}
            answer = world.call(method, path, key="admin", json=body)
            assert refusal_of(answer) == (400, "ai_disclosure_required"), value
            assert answer.json()["error"].startswith(
                "ai_disclosure: cannot be switched off."
            )
    for value in (True, 1, None):
        answer = patch(world, ai_disclosure=value).json()
        assert answer["ai_disclosure"] == 1
        assert answer["status"] == "updated"
    assert world.get(world.base)["ai_disclosure"] == 1


def test_deleted_mailbox_cancels_waiting_mail_and_leaves_the_rest(world):
    world.listen("message.cancelled")
    held = world.held()
    scheduled = world.approved(send_at="2099-01-01T00:00:00Z")
    inbound = make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL)
    unread = make_inbound(world)
    rejected = world.held()
    world.decide(rejected, "reject")
    answer = delete(world, world.mailbox.pk)
    assert answer.status_code == 200
    assert answer.json()["status"] == "deleted"
    assert {status_of(one) for one in (held, scheduled, inbound)} == {Status.CANCELLED}
    assert status_of(unread) == Status.UNREAD
    assert status_of(rejected) == Status.REJECTED
    assert events_of(held) == ["message.cancelled"]
    assert times_noted("email.cancelled") == 3
    assert [
        world.call(verb, world.base, key="admin").status_code
        for verb in ("GET", "DELETE")
    ] == [404, 404]
    assert world.get("/v1/mailboxes", key="admin") == {"mailboxes": []}
    assert Mailbox.objects.get().is_active is False


def test_claimed_mail_is_not_sent_after_its_mailbox_is_deleted(world, mail_server):
    email = world.approved()
    claimed = Email.objects.claim(email.pk)
    assert claimed is not None
    delete(world, world.mailbox.pk)
    assert status_of(email) == Status.SCHEDULED
    assert outbox._attempt(claimed) == "lease lost"
    tasks.sweep()
    assert status_of(email) == Status.CANCELLED
    assert mail_server.seen == 0


def test_mail_not_yet_cancelled_cannot_be_decided(world, monkeypatch):
    email_id = world.held()
    with monkeypatch.context() as patched:
        patched.setattr(decisions, "BATCH", 0)
        delete(world, world.mailbox.pk)
    answer = world.decide(email_id)
    assert refusal_of(answer) == (409, "mailbox_deleted")
    assert decisions.cancel_in_closed_mailboxes() == 1
    assert status_of(email_id) == Status.CANCELLED


def test_minimum_of_the_account_refuses_looser_modes_whatever_asks_for_them(world):
    asked = post(world, f"{world.base}/request-upgrade", target_mode="monitored")
    assert asked.status_code == 200, asked.text
    call_command(
        "gateway_limits", account=world.account.slug, minimum_mode="gated_send"
    )
    code = world.get("/v1/upgrade-requests", key="admin")["requests"][0]["code"]
    refused = [
        # It was asked for before there was a minimum.
        post(world, f"{world.base}/upgrade", code=code),
        post(world, f"{world.base}/request-upgrade", target_mode="autonomous"),
        patch(world, allow_looser_per_call=True),
        create(world, "loose@acme.example", allow_looser_per_call=True),
    ]
    assert [refusal_of(one) for one in refused] == [(403, "below_minimum")] * 4
    assert Mailbox.objects.get(pk=world.mailbox.pk).oversight_mode == "gated_send"
    call_command("gateway_limits", account=world.account.slug, minimum_mode="gated_all")
    assert (
        create(world, oversight_mode="gated_send").json()["oversight_mode"]
        == "gated_all"
    )
    call_command("gateway_limits", account=world.account.slug, minimum_mode="none")
    assert post(world, f"{world.base}/upgrade", code=code).status_code == 200
