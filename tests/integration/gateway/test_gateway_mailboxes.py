"""Mailboxes: created under the account's own domains, tightened freely, never loosened,
and deleted for good.
"""

import pytest
from django.core.management import call_command

from gateway import tasks
from gateway.messages import decisions, outbox
from gateway.messages.content import AI_DISCLOSURE
from gateway.models import Domain, Email, Mailbox
from gateway.states import Mode, Status
from tests.integration.gateway.world import (
    bad_field_of,
    events_of,
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


@pytest.mark.slow
def test_local_part_alone_uses_the_oldest_active_domain(world):
    Domain.objects.create(
        account=world.account, domain="later.example", status="active", token="t"
    )
    for field in ("address", "address_local"):
        made = post(world, **{field: field}).json()
        assert made["address"] == f"{field}@acme.example"
    Domain.objects.all().update(status="pending")
    answer = post(world, address_local="x")
    assert bad_field_of(answer) == (422, "address_local")


@pytest.mark.slow
def test_mailbox_with_an_inactive_domain_or_an_invalid_field_is_refused(world, other):
    Domain.objects.create(account=world.account, domain="pending.example", token="t")
    many = ", ".join(f"{'x' * 40}{number}@{'y' * 60}.example" for number in range(30))
    for name, value in (
        ("address", "a@elsewhere.example"),
        ("address", "a@pending.example"),
        ("address", "a@globex.example"),
        ("address", '"q."@acme.example'),
        ("display_name", "a\r\nBcc: x@y.example"),
        ("display_name", "=?utf-8?q?boss?="),
        ("oversight_mode", "loose"),
        ("auto_cc", "nobody"),
        ("auto_bcc", many),
    ):
        answer = create(world, **{name: value})
        assert bad_field_of(answer) == (422, name), value
    assert Mailbox.objects.filter(account=world.account).count() == 1


@pytest.mark.slow
def test_mode_at_creation_is_taken_if_it_is_strict(world):
    for asked, mode in (
        ("read_only", "read_only"),
        ("gated_all", "gated_all"),
        ("monitored", "gated_send"),
        ("Autonomous", "gated_send"),
        (None, "gated_send"),
    ):
        made = create(world, f"{asked}@acme.example", oversight_mode=asked).json()
        stored = Mailbox.objects.get(pk=made["id"]).oversight_mode
        assert made["oversight_mode"] == stored == mode, asked


def test_patch_tightens_and_never_loosens(world):
    for index, start in enumerate(MODES):
        for wanted in MODES:
            Mailbox.objects.update(oversight_mode=start, display_name="Support")
            path = world.base + ("/configure" if index % 2 else "")
            fields = {"oversight_mode": wanted, "display_name": "Changed"}
            answer = world.patch(path, **fields)
            world.mailbox.refresh_from_db()
            stored = world.mailbox.oversight_mode, world.mailbox.display_name
            if MODES.index(wanted) <= index:
                assert stored == (wanted, "Changed"), start
            else:
                assert refusal_of(answer) == (403, "upgrade_needed")
                assert stored == (start, "Support"), wanted


def test_change_of_additions_reaches_held_mail_until_it_is_approved(world):
    email_id = world.held()
    before = world.pending()["pending"][0]["fingerprint"]
    patch(world, auto_bcc="archive@acme.example", signature_block="The team")
    row = world.pending()["pending"][0]
    assert row["additions"] == {
        "auto_bcc": "archive@acme.example",
        "signature": "The team",
        "ai_disclosure": AI_DISCLOSURE,
    }
    refused = world.decide(email_id, expected_fingerprint=before)
    assert refusal_of(refused) == (409, "content_changed")
    decided = world.decide(email_id, expected_fingerprint=row["fingerprint"])
    assert decided.status_code == 200
    # Null clears a text.
    cleared = patch(world, auto_bcc=None, display_name=None).json()
    assert (cleared["auto_bcc"], cleared["display_name"]) == (None, "")
    assert Email.objects.get(pk=email_id).additions == row["additions"]


def test_ai_disclosure_cannot_be_switched_off(world):
    for value in (False, 0, "false"):
        body = {"address": "n@acme.example", "ai_disclosure": value}
        for answer in (
            post(world, **body),
            patch(world, **body),
            world.patch(f"{world.base}/configure", **body),
        ):
            assert refusal_of(answer) == (400, "ai_disclosure_required"), value
    for value in (True, 1, None):
        assert patch(world, ai_disclosure=value).json()["ai_disclosure"] == 1


def test_deleted_mailbox_cancels_waiting_mail_and_leaves_the_rest(world):
    world.listen("message.cancelled")
    held = world.held()
    scheduled = world.approved(send_at="2099-01-01T00:00:00Z")
    inbound = make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL)
    unread = make_inbound(world)
    rejected = world.held()
    world.decide(rejected, "reject")
    assert delete(world, world.mailbox.pk).json()["status"] == "deleted"
    assert {status_of(one) for one in (held, scheduled, inbound)} == {Status.CANCELLED}
    assert status_of(unread) == Status.UNREAD
    assert status_of(rejected) == Status.REJECTED
    assert events_of(held) == ["message.cancelled"]
    assert times_noted("email.cancelled") == 3
    assert world.call("GET", world.base, key="admin").status_code == 404
    assert delete(world, world.mailbox.pk).status_code == 404
    assert world.get("/v1/mailboxes", key="admin") == {"mailboxes": []}
    again = create(world, address=world.mailbox.address)
    assert refusal_of(again) == (409, "address_taken")


@pytest.mark.slow
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


@pytest.mark.slow
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
    def set_minimum(mode):
        call_command("gateway_limits", account=world.account.slug, minimum_mode=mode)

    assert (
        post(
            world, f"{world.base}/request-upgrade", target_mode="monitored"
        ).status_code
        == 200
    )
    set_minimum("gated_send")
    code = world.get("/v1/upgrade-requests", key="admin")["requests"][0]["code"]
    for refused in (
        # It was asked for before there was a minimum.
        post(world, f"{world.base}/upgrade", code=code),
        post(world, f"{world.base}/request-upgrade", target_mode="autonomous"),
        patch(world, allow_looser_per_call=True),
        create(world, allow_looser_per_call=True),
    ):
        assert refusal_of(refused) == (403, "below_minimum")
    set_minimum("gated_all")
    made = create(world, oversight_mode="gated_send").json()
    assert made["oversight_mode"] == "gated_all"
    set_minimum("none")
    assert post(world, f"{world.base}/upgrade", code=code).status_code == 200
