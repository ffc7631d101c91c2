"""Mailboxes: created under the account's own domains, tightened freely, never loosened,
and deleted for good.
"""

from django.core.management import call_command

from gateway import tasks
from gateway.messages import outbox
from gateway.messages.content import AI_DISCLOSURE
from gateway.models import Email, Mailbox
from gateway.states import Mode, Status
from tests.integration.gateway.world import (
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


def test_deleted_mailbox_cancels_waiting_mail_and_leaves_the_rest(world, mail_server):
    world.listen("message.cancelled")
    held = world.held()
    scheduled = world.approved(send_at="2099-01-01T00:00:00Z")
    inbound = make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL)
    unread = make_inbound(world)
    rejected = world.held()
    world.decide(rejected, "reject")
    claimed = Email.objects.claim(world.approved().pk)
    assert delete(world, world.mailbox.pk).json()["status"] == "deleted"
    assert {status_of(one) for one in (held, scheduled, inbound)} == {Status.CANCELLED}
    assert status_of(unread) == Status.UNREAD
    assert status_of(rejected) == Status.REJECTED
    assert events_of(held) == ["message.cancelled"]
    assert times_noted("email.cancelled") == 3
    assert status_of(claimed) == Status.SCHEDULED
    assert outbox._attempt(claimed) == "lease lost"
    tasks.sweep()
    assert status_of(claimed) == Status.CANCELLED
    assert mail_server.seen == 0
    assert world.call("GET", world.base, key="admin").status_code == 404
    assert delete(world, world.mailbox.pk).status_code == 404
    assert world.get("/v1/mailboxes", key="admin")["mailboxes"] == []
    again = create(world, address=world.mailbox.address)
    assert refusal_of(again) == (409, "address_taken")


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
