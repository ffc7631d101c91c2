"""The account: its own facts in real numbers, its changes, and its end, after which nothing leaves."""

import base64
from typing import Any

import pytest
from django.utils import timezone

from gateway import outbox, tasks
from gateway.models import Account, AuditLogEntry, Email
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, add_key, events_of


def patch(world: World, key: str = "admin", **fields: Any) -> Any:
    return world.call("PATCH", "/v1/account", key=key, json=fields)


def delete(world: World, key: str = "admin") -> Any:
    return world.call("DELETE", "/v1/account", key=key)


def test_account_is_told_in_real_numbers(world: World, mail_server: MailServer):
    Account.objects.update(monthly_email_quota=200, max_mailboxes=2)
    text = base64.b64encode(b"x" * 300).decode()
    sent = world.approved(attachments=[{"name": "a.txt", "content_type": "text/plain", "content_base64": text}])
    outbox.send_due(email_id=sent.pk, now=timezone.now())
    world.decide(world.held(), "reject")
    told = world.call("GET", "/v1/account").json()
    assert told["emails_sent_this_month"] == 1
    assert (told["storage_used_bytes"], told["max_storage_bytes"]) == (300, None)
    assert (told["monthly_email_quota"], told["max_mailboxes"], told["is_active"]) == (200, 2, True)
    assert (told["username"], told["scopes"]) == ("acme", ["read", "send"])
    assert all(told["account"][name] == told[name] for name in told["account"])


def test_numbers_of_another_account_are_not_counted(world: World, other: World):
    text = base64.b64encode(b"x").decode()
    other.approved(attachments=[{"name": "a.txt", "content_type": "text/plain", "content_base64": text}])
    told = world.call("GET", "/v1/account").json()
    assert (told["emails_sent_this_month"], told["storage_used_bytes"]) == (0, 0)


def test_account_changes_and_null_clears(world: World):
    told = patch(world, name="Acme Ltd", oversight_email="Boss@ACME.example", physical_address="1 Road\nTown").json()
    assert (told["status"], told["name"], told["oversight_email"]) == ("updated", "Acme Ltd", "Boss@acme.example")
    assert told["physical_address"] == "1 Road\nTown"
    told = patch(world, oversight_email=None, physical_address=None, name=None, plan="scale").json()
    assert (told["oversight_email"], told["physical_address"], told["name"]) == (None, None, "Acme Ltd")
    assert told["plan"] == "self-hosted"
    fields = [entry.metadata["fields"] for entry in AuditLogEntry.objects.filter(action="account.updated")]
    assert sorted(map(len, fields)) == [2, 3]


@pytest.mark.parametrize(
    "fields", [{"name": ""}, {"name": "a\nb"}, {"oversight_email": "nobody"}, {"hold_all": "perhaps"}, {"name": 5}]
)
def test_bad_change_changes_nothing(world: World, fields: dict[str, Any]):
    assert patch(world, physical_address="x", **fields).status_code == 422
    assert Account.objects.get().physical_address == ""


@pytest.mark.parametrize("key", ["agent", "desk", "reader", "watcher"])
def test_only_admins_change_and_delete_the_account(world: World, key: str):
    assert [patch(world, key=key, name="x").status_code, delete(world, key=key).status_code] == [403, 403]
    assert Account.objects.get().is_active


def test_sandbox_key_neither_deletes_nor_holds_nor_releases(world: World):
    add_key(world, "tester", ["admin"], prefix="mm_test_")
    answers = [delete(world, key="tester"), patch(world, key="tester", hold_all=False)]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "sandbox_key")}


def test_deleted_account_refuses_every_key_and_cancels_what_waits(world: World, other: World):
    world.listen("message.cancelled")
    held, scheduled, theirs = world.held(), world.approved().pk, other.held()
    answer = delete(world)
    assert (answer.status_code, answer.json()["status"]) == (200, "deleted")
    for key in world.keys:
        refused = world.call("GET", "/v1/account", key=key)
        assert (refused.status_code, refused.json()["code"]) == (403, "account_inactive")
    statuses = dict(Email.objects.values_list("pk", "status"))
    assert (statuses[held], statuses[scheduled]) == (Status.CANCELLED, Status.CANCELLED)
    assert statuses[theirs] == Status.PENDING_SEND_APPROVAL
    assert events_of(held) == ["message.cancelled"]
    assert AuditLogEntry.objects.filter(action="account.deleted", account=world.account).count() == 1


def test_nothing_leaves_a_deleted_account_not_even_from_a_workers_hands(world: World, mail_server: MailServer):
    email = world.approved()
    claimed = Email.objects.claim(email.pk)
    assert claimed is not None
    delete(world)
    assert outbox._attempt(claimed) == "lease lost"
    assert outbox.send_due(email_id=email.pk, now=timezone.now()) == "not due"
    tasks.sweep()
    email.refresh_from_db()
    assert (email.status, mail_server.seen) == (Status.CANCELLED, 0)
