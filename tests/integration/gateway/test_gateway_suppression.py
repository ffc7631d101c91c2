"""Suppressed addresses: which bounces create one, what it blocks, and how it is lifted."""

import json
from urllib.parse import quote

import pytest

from gateway.models import Email, Refusal, Suppression, WebhookDelivery
from gateway.states import Mode, Status
from gateway.suppression import says_gone
from tests.integration.gateway.world import (
    add_key,
    add_sandbox_keys,
    events_of,
    leave,
    make_world,
    noted,
    times_noted,
)

DANA = "dana@northwind.example"
GONE = "gone+1@x.example"
# Replies for an address that is gone, and replies that say nothing about the address.
SUPPRESSES = (
    "550 5.1.1 no such user",
    "550 no such user",
    "551 User not local",
    "553 mailbox name is not there",
    "550 5.1.10 recipient not found",
    "550 5.2.1 mailbox disabled",
    "550 5.1.1 relay says: denied, no such user",
    "550 sorry, no mailbox here by that name (#5.1.1)",
)
SUPPRESSES_NOT = (
    "550 5.7.1 relaying denied",
    "554 5.7.1 blocked",
    "550 relay not permitted",
    "550 sender verify failed",
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    "553 sorry, that domain isn't in my list of allowed rcpthosts",
    "550 5.1.8 sender address rejected: domain not found",
    "550 5.1.0 address rejected",
    "552 5.2.2 mailbox full",
    "550 blocked by 5.1.1.2 as spam",
    "554 no",
    "501 what",
)


@pytest.fixture
def listening(world):
    world.listen("message.sent", "message.bounced", "message.failed")
    return world


def suppress(world, address=GONE, **fields):
    values = {
        "account": world.account,
        "mailbox": world.mailbox,
        "reason": "bounce",
        **fields,
    }
    return Suppression.objects.create(email_address=address, **values)


def lift(world, path, key="admin"):
    return world.delete(f"/v1/suppression/{path}", key=key)


def suppressed():
    return set(Suppression.objects.values_list("email_address", flat=True))


def test_only_refusals_of_an_address_that_is_gone_say_so():
    replies = {
        reply: (int(reply[:3]), reply[4:]) for reply in (*SUPPRESSES, *SUPPRESSES_NOT)
    }
    assert [reply for reply, parts in replies.items() if says_gone(*parts)] == list(
        SUPPRESSES
    )


def test_bounce_of_an_address_that_is_gone_suppresses_it_and_another_does_not(
    world, mail_server
):
    mail_server.refuse = {
        "Gone+1@x.example": SUPPRESSES[0],
        "policy@x.example": SUPPRESSES_NOT[0],
    }
    assert leave(world.approved(to=[DANA, *mail_server.refuse])) == "sent"
    row = Suppression.objects.get()
    assert row.email_address == GONE
    assert row.reason == "bounce"
    assert row.mailbox_id == world.mailbox.pk
    entry = noted("suppression.added")
    assert entry.metadata["email_address"] == GONE
    assert world.send(to=["policy@x.example"]).status_code == 202


def test_bounce_of_all_recipients_suppresses_them_and_a_second_one_changes_nothing(
    world, mail_server
):
    mail_server.refuse = {
        GONE: "550 5.1.1 no such user",
        "also@x.example": "550 5.1.1 no such user",
    }
    first = world.approved(to=[GONE, "also@x.example"])
    second = world.approved(to=[GONE], cc=[DANA])
    assert leave(first) == "failed"
    assert suppressed() == {GONE, "also@x.example"}
    mail_server.refuse = {}
    assert leave(second) == "sent"
    assert Suppression.objects.count() == 2


def test_message_to_a_suppressed_address_is_422_and_names_it(world, other):
    suppress(world)
    suppress(world, "also@x.example")
    for field in ("to", "cc", "bcc"):
        answer = world.send(**{field: [DANA, "GONE+1@X.example", "also@x.example"]})
        body = answer.json()
        assert answer.status_code == 422
        assert body["code"] == "recipient_suppressed"
        assert body["field"] == field
        assert body["recipients"] == ["GONE+1@x.example", "also@x.example"]
    assert not Email.objects.exists()
    assert other.send(to=[GONE]).status_code == 202
    # A restriction is checked first.
    world.allow(DANA)
    assert world.send(to=[GONE]).status_code == 403
    assert Refusal.objects.count() == 1


def test_suppressed_after_acceptance_is_left_out_and_recorded(listening, mail_server):
    email = listening.approved(to=[DANA], bcc=[GONE])
    suppress(listening)
    assert leave(email) == "sent"
    email.refresh_from_db()
    assert mail_server.taken[0].rcpt_tos == [DANA]
    assert email.status == Status.SENT
    assert email.bounce_type == "suppressed"
    assert list(email.refused_recipients) == [GONE]
    assert email.bounced_at is not None
    assert events_of(email.pk) == ["message.sent", "message.bounced"]
    event = json.loads(bytes(WebhookDelivery.objects.get(event="message.bounced").body))
    assert event["bounce_type"] == "suppressed"
    assert event["bounced_recipients"] == [GONE]
    assert event["bounce_code"] is None


def test_all_suppressed_after_acceptance_fails_and_asks_no_server(
    listening, mail_server
):
    add_sandbox_keys(listening)
    tried = listening.held(key="tester", to=[GONE])
    listening.decide(tried, key="test desk")
    email = listening.approved(to=[GONE])
    mixed = listening.approved(to=[GONE, DANA])
    suppress(listening)
    assert leave(email) == "failed"
    email.refresh_from_db()
    assert email.status == Status.SEND_FAILED
    assert email.bounce_type == "suppressed"
    assert email.last_error == "every recipient is suppressed or has unsubscribed"
    assert events_of(email.pk) == ["message.bounced", "message.failed"]
    # Sandbox mail obeys no suppression.
    assert leave(tried) == "pretended"
    assert mail_server.mails == 0
    # If the others are refused, both are recorded.
    mail_server.refuse = {DANA: "550 5.7.1 policy"}
    assert leave(mixed) == "failed"
    mixed.refresh_from_db()
    assert mixed.bounce_type == "recipient_refused"
    assert mixed.refused_recipients.keys() == {GONE, DANA}


def test_suppressed_addition_of_the_mailbox_is_left_out(db, mail_server):
    world = make_world(
        mode=Mode.AUTONOMOUS, auto_bcc="archive@acme.example, also@x.example"
    )
    alone = world.held(to=[GONE])
    suppress(world)
    suppress(world, "also@x.example")
    assert leave(alone) == "failed"
    assert mail_server.mails == 0
    assert leave(world.held()) == "sent"
    assert mail_server.taken[0].rcpt_tos == [DANA, "archive@acme.example"]


def test_suppression_is_lifted_however_its_address_is_written(world):
    for path in (
        GONE,
        quote(GONE, safe=""),
        "GONE%2B1@X.example.",
        quote(GONE, safe="+"),
    ):
        suppress(world)
        assert lift(world, path).json()["status"] == "removed", path
        assert suppressed() == set(), path
        assert lift(world, path).status_code == 404
    assert times_noted("suppression.removed") == 4
    assert world.send(to=[GONE]).status_code == 202
    for address in ("a/b@x.example", "o'neil@x.example", "a%25b@x.example"):
        suppress(world, address.replace("%25", "%"))
        assert lift(world, address).status_code == 200, address
    suppress(world)
    for path in ("nobody@x.example", "nonsense", "%00", "gone 1@x.example"):
        assert lift(world, path).status_code == 404, path


def test_list_is_newest_first_with_pages(world, other):
    for number in range(3):
        suppress(world, f"gone{number}@x.example")
    rows = world.walk("/v1/suppression", "suppressions", key="admin")
    assert [row["email_address"] for row in rows] == [
        f"gone{number}@x.example" for number in (2, 1, 0)
    ]
    assert rows[0].keys() == {
        "id",
        "email_address",
        "reason",
        "mailbox_id",
        "created_at",
    }
    assert rows[0]["created_at"].endswith("Z")
    add_key(world, "limited", ["admin"], mailbox_ids=["elsewhere"])
    assert other.get("/v1/suppression", key="admin")["suppressions"] == []
    # Suppression applies to the whole account, whichever mailbox bounced.
    assert world.get("/v1/suppression", key="limited")["suppressions"] == rows
    for whose, key in ((other, "admin"), (world, "limited")):
        assert lift(whose, "gone0@x.example", key).status_code == 404
    assert len(suppressed()) == 3
