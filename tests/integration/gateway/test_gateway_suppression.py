"""Suppressed addresses: which bounces make one, what it keeps back, and how it is lifted."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone

from gateway import outbox
from gateway.models import ApiKey, AuditLogEntry, Email, Refusal, Suppression, WebhookDelivery
from gateway.modes import Mode
from gateway.states import Status
from tests.integration.gateway.servers import MailServer
from tests.integration.gateway.world import World, add_key, events_of, make_world

DANA = "dana@northwind.example"
GONE = "gone+1@x.example"


@pytest.fixture
def listening(world: World) -> World:
    world.listen("message.sent", "message.bounced", "message.failed")
    return world


def send(email: Email | str) -> str:
    return outbox.send_due(email_id=getattr(email, "pk", email), now=timezone.now())


def suppress(world: World, address: str = GONE, **fields: Any) -> Suppression:
    values: dict[str, Any] = {"account": world.account, "mailbox": world.mailbox, "reason": "bounce", **fields}
    return Suppression.objects.create(email_address=address, **values)


def listed(world: World, query: str = "", key: str = "admin") -> Any:
    return world.call("GET", f"/v1/suppression?{query}", key=key).json()


def suppressed() -> set[str]:
    return set(Suppression.objects.values_list("email_address", flat=True))


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.1.1 no such user",
        "550 no such user",
        "551 User not local",
        "553 mailbox name is not there",
        "550 5.1.10 recipient not found",
        "550 5.2.1 mailbox disabled",
        "550 5.1.1 relay says: denied, no such user",
        "550 sorry, no mailbox here by that name (#5.1.1)",
    ],
)
def test_bounce_of_an_address_that_is_gone_suppresses_it(world: World, mail_server: MailServer, reply: str):
    mail_server.refuse = {"Gone+1@x.example": reply}
    assert send(world.approved(to=[DANA, "Gone+1@x.example"])) == "sent"
    row = Suppression.objects.get()
    assert (row.email_address, row.reason, row.mailbox_id) == (GONE, "bounce", world.mailbox.pk)
    entry = AuditLogEntry.objects.get(action="suppression.added")
    assert entry.metadata["email_address"] == GONE


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.1 relaying denied",
        "554 5.7.1 blocked",
        "550 relay not permitted",
        "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
        "553 sorry, that domain isn't in my list of allowed rcpthosts",
        "550 5.1.8 sender address rejected: domain not found",
        "550 5.1.0 address rejected",
        "550 sender verify failed",
        "550 blocked by 5.1.1.2 as spam",
        "552 5.2.2 mailbox full",
        "554 no",
        "501 what",
    ],
)
def test_bounce_for_policy_relay_or_sender_suppresses_nobody(world: World, mail_server: MailServer, reply: str):
    mail_server.refuse = {GONE: reply}
    email = world.approved(to=[DANA, GONE])
    assert send(email) == "sent"
    email.refresh_from_db()
    assert email.bounce_type == "recipient_refused"
    assert suppressed() == set()
    assert world.send(to=[GONE]).status_code == 202


def test_bounce_of_all_recipients_suppresses_them_and_a_second_one_changes_nothing(
    world: World, mail_server: MailServer
):
    mail_server.refuse = {GONE: "550 5.1.1 no such user", "also@x.example": "550 5.1.1 no such user"}
    first, second = world.approved(to=[GONE, "also@x.example"]), world.approved(to=[GONE], cc=[DANA])
    assert send(first) == "failed"
    assert suppressed() == {GONE, "also@x.example"}
    mail_server.refuse = {}
    assert send(second) == "sent"
    assert Suppression.objects.count() == 2


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_letter_to_a_suppressed_address_is_422_and_names_it(world: World, field: str):
    suppress(world)
    answer = world.send(**{field: [DANA, "GONE+1@X.example"]})
    told = answer.json()
    assert (answer.status_code, told["code"], told["field"]) == (422, "recipient_suppressed", field)
    assert "GONE+1@x.example" in told["error"]
    assert not Email.objects.exists()


def test_suppression_is_of_one_account_and_holds_in_no_other(world: World, other: World):
    suppress(world)
    assert other.send(to=[GONE]).status_code == 202


def test_restriction_is_asked_before_suppression(world: World):
    suppress(world)
    body = {"kind": "restriction", "mode": "enforce", "entries": [DANA]}
    world.call("PUT", f"{world.base}/allowlist", key="admin", json=body)
    assert world.send(to=[GONE]).status_code == 403
    assert Refusal.objects.count() == 1


def test_suppressed_after_acceptance_is_left_out_and_recorded(listening: World, mail_server: MailServer):
    email = listening.approved(to=[DANA], bcc=[GONE])
    suppress(listening)
    assert send(email) == "sent"
    email.refresh_from_db()
    assert mail_server.taken[0].rcpt_tos == [DANA]
    assert (email.status, email.bounce_type) == (Status.SENT, "suppressed")
    assert list(email.refused_recipients) == [GONE]
    assert email.bounced_at is not None
    assert events_of(email.pk) == ["message.sent", "message.bounced"]
    event = json.loads(bytes(WebhookDelivery.objects.get(event="message.bounced").body))
    assert (event["bounce_type"], event["bounced_recipients"], event["bounce_code"]) == ("suppressed", [GONE], None)


def test_all_suppressed_after_acceptance_fails_and_asks_no_server(listening: World, mail_server: MailServer):
    email = listening.approved(to=[GONE])
    suppress(listening)
    assert send(email) == "failed"
    email.refresh_from_db()
    assert (email.status, email.bounce_type) == (Status.SEND_FAILED, "suppressed")
    assert events_of(email.pk) == ["message.bounced", "message.failed"]
    assert mail_server.mails == 0


def test_what_the_mailbox_adds_is_no_reason_to_send_to_nobody(db: None, mail_server: MailServer):
    world = make_world(mode=Mode.AUTONOMOUS, auto_bcc="archive@acme.example")
    email_id = world.held(to=[GONE])
    suppress(world)
    assert send(email_id) == "failed"
    assert mail_server.mails == 0


def test_suppressed_addition_refuses_no_letter_and_is_left_out(db: None, mail_server: MailServer):
    world = make_world(mode=Mode.AUTONOMOUS, auto_bcc=GONE)
    suppress(world)
    assert send(world.held()) == "sent"
    assert mail_server.taken[0].rcpt_tos == [DANA]


def test_some_suppressed_and_the_others_refused_fails_with_both_recorded(listening: World, mail_server: MailServer):
    mail_server.refuse = {DANA: "550 5.7.1 policy"}
    email = listening.approved(to=[GONE, DANA])
    suppress(listening)
    assert send(email) == "failed"
    email.refresh_from_db()
    assert email.bounce_type == "recipient_refused"
    assert email.refused_recipients.keys() == {GONE, DANA}


def test_sandbox_letters_obey_no_suppression(world: World, mail_server: MailServer):
    add_key(world, "tester", ["read", "send"], prefix="mm_test_")
    add_key(world, "test desk", ["oversight"], prefix="mm_test_")
    suppress(world)
    email_id = world.send(key="tester", to=[GONE]).json()["id"]
    world.decide(email_id, key="test desk")
    assert send(email_id) == "pretended"
    assert mail_server.mails == 0


@pytest.mark.parametrize("path", [GONE, quote(GONE, safe=""), "GONE%2B1@X.example.", quote(GONE, safe="+")])
def test_suppression_is_lifted_however_its_address_is_written(world: World, path: str):
    suppress(world)
    answer = world.call("DELETE", f"/v1/suppression/{path}", key="admin")
    assert (answer.status_code, answer.json()["status"]) == (200, "removed")
    assert world.send(to=[GONE]).status_code == 202
    assert world.call("DELETE", f"/v1/suppression/{path}", key="admin").status_code == 404
    assert AuditLogEntry.objects.filter(action="suppression.removed").count() == 1


@pytest.mark.parametrize("address", ["a/b@x.example", "o'neil@x.example", "a%25b@x.example"])
def test_suppression_of_an_odd_address_is_lifted(world: World, address: str):
    suppress(world, address.replace("%25", "%"))
    assert world.call("DELETE", f"/v1/suppression/{address}", key="admin").status_code == 200


@pytest.mark.parametrize("path", ["nobody@x.example", "nonsense", "%00", "gone 1@x.example"])
def test_lifting_what_is_not_suppressed_is_404(world: World, path: str):
    suppress(world)
    assert world.call("DELETE", f"/v1/suppression/{path}", key="admin").status_code == 404


def test_list_is_newest_first_with_pages(world: World, other: World):
    for number in range(3):
        suppress(world, f"gone{number}@x.example")
    first = listed(world, "limit=2")
    second = listed(world, f"limit=2&cursor={first['cursor']}")
    assert [row["email_address"] for row in first["suppressions"]] == ["gone2@x.example", "gone1@x.example"]
    assert [row["email_address"] for row in second["suppressions"]] == ["gone0@x.example"]
    assert second["cursor"] is None
    row = first["suppressions"][0]
    assert row.keys() == {"id", "email_address", "reason", "mailbox_id", "created_at"}
    assert row["created_at"].endswith("Z")
    assert listed(other)["suppressions"] == []


def test_suppression_is_for_admin_keys_of_the_account_and_its_mailboxes(world: World, other: World):
    suppress(world)
    for key in ("agent", "reader", "desk"):
        assert world.call("GET", "/v1/suppression", key=key).status_code == 403
        assert world.call("DELETE", f"/v1/suppression/{GONE}", key=key).status_code == 403
    assert other.call("DELETE", f"/v1/suppression/{GONE}", key="admin").status_code == 404
    add_key(world, "limited", ["admin"])
    ApiKey.objects.filter(name="Key limited").update(mailbox_ids=["elsewhere"])
    assert listed(world, key="limited")["suppressions"] == []
    assert world.call("DELETE", f"/v1/suppression/{GONE}", key="limited").status_code == 404
    assert suppressed() == {GONE}
