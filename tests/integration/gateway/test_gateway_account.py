"""The account: its usage, its changes, and its deletion, after which nothing is sent."""

import base64

from gateway import tasks
from gateway.messages import outbox
from gateway.models import Account, ApprovalRequest, AuditLogEntry, Email, Notice
from gateway.states import Status
from tests.integration.gateway.world import (
    add_sandbox_keys,
    events_of,
    leave,
    refusal_of,
    status_of,
)


def patch(world, key="admin", **fields):
    return world.patch("/v1/account", key=key, **fields)


def delete(world, key="admin"):
    return world.delete("/v1/account", key=key)


def test_account_reports_its_real_usage(world, other, mail_server):
    Account.objects.update(monthly_email_quota=200, max_mailboxes=2)
    text = base64.b64encode(b"x" * 300).decode()
    sent = world.approved(
        attachments=[
            {"name": "a.txt", "content_type": "text/plain", "content_base64": text}
        ]
    )
    leave(sent)
    world.decide(world.held(), "reject")
    body = world.get("/v1/account")
    assert body["emails_sent_this_month"] == 1
    assert body["storage_used_bytes"] == 300
    assert body["max_storage_bytes"] is None
    assert body["monthly_email_quota"] == 200
    assert body["max_mailboxes"] == 2
    assert body["is_active"] is True
    assert body["username"] == "acme"
    assert body["scopes"] == ["read", "send"]
    assert all(body["account"][name] == body[name] for name in body["account"])
    body = other.get("/v1/account")
    assert body["emails_sent_this_month"] == 0
    assert body["storage_used_bytes"] == 0


def test_account_can_be_changed_null_clears_and_an_invalid_change_changes_nothing(
    world,
):
    bad = [
        {"name": ""},
        {"name": "a\nb"},
        {"oversight_email": "nobody"},
        {"hold_all": "perhaps"},
        {"name": 5},
    ]
    assert [
        fields
        for fields in bad
        if patch(world, physical_address="x", **fields).status_code != 422
    ] == []
    assert Account.objects.get().physical_address == ""
    body = patch(world, name="Acme Ltd", physical_address="1 Road\nTown").json()
    assert body["status"] == "updated"
    assert body["name"] == "Acme Ltd"
    assert body["physical_address"] == "1 Road\nTown"
    body = patch(world, physical_address=None, name=None, plan="scale").json()
    assert body["physical_address"] is None
    assert body["name"] == "Acme Ltd"
    assert body["plan"] == "self-hosted"
    fields = [
        entry.metadata["fields"]
        for entry in AuditLogEntry.objects.filter(action="account.updated")
    ]
    assert sorted(map(len, fields)) == [1, 2]


def test_oversight_address_is_set_and_cleared_by_a_code_however_codes_are_set(
    world, settings
):
    # Codes go to it: whoever could choose it with the admin key alone could confirm
    # every act.
    for codes, address in (("address", "Boss@ACME.example"), ("0", None)):
        settings.GATEWAY_APPROVAL_CODES = codes
        asked = patch(world, oversight_email=address)
        assert asked.status_code == 202
        assert Notice.objects.count() == int(codes == "0")
        code = ApprovalRequest.objects.latest("created_at").code
        body = patch(world, oversight_email=address, approval_code=code).json()
        assert body["status"] == "updated"
        assert body["oversight_email"] == (address and "Boss@acme.example")
    assert patch(world, oversight_email=None).status_code == 200


def test_only_live_admin_keys_change_and_delete_the_account(world):
    for key in ("agent", "desk", "reader", "watcher"):
        assert [
            patch(world, key=key, name="x").status_code,
            delete(world, key=key).status_code,
        ] == [403, 403], key
    add_sandbox_keys(world)
    answers = [
        delete(world, key="test admin"),
        patch(world, key="test admin", hold_all=False),
    ]
    assert {refusal_of(answer) for answer in answers} == {(403, "sandbox_key")}
    assert Account.objects.get().is_active


def test_deleted_account_refuses_every_key_and_cancels_what_waits(
    world, other, mail_server
):
    world.listen("message.cancelled")
    held = world.held()
    approved = world.approved()
    scheduled = world.approved()
    theirs = other.held()
    claimed = Email.objects.claim(scheduled.pk)
    assert claimed is not None
    answer = delete(world)
    assert answer.status_code == 200
    assert answer.json()["status"] == "deleted"
    refused = [world.call("GET", "/v1/account", key=key) for key in world.keys]
    assert {refusal_of(one) for one in refused} == {(403, "account_inactive")}
    assert status_of(held) == Status.CANCELLED
    assert status_of(approved) == Status.CANCELLED
    assert events_of(held) == ["message.cancelled"]
    assert status_of(theirs) == Status.PENDING_SEND_APPROVAL
    assert (
        AuditLogEntry.objects.filter(
            action="account.deleted", account=world.account
        ).count()
        == 1
    )

    # Nothing is sent, not even an email that a worker has claimed.
    assert outbox._attempt(claimed) == "lease lost"
    assert leave(scheduled) == "not due"
    tasks.sweep()
    assert status_of(scheduled) == Status.CANCELLED
    assert mail_server.seen == 0
