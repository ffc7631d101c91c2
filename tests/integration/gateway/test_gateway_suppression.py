"""Suppressed addresses: which bounces create one, what it blocks, and how it is lifted.
Contacts: who may add and remove them, and how they are found.
"""

from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from common.fingerprint import fingerprint
from gateway.messages.content import AI_DISCLOSURE
from gateway.messages.outbox import hold_back
from gateway.models import (
    Account,
    Email,
    Mailbox,
    Refusal,
    Suppression,
    WebhookDelivery,
)
from gateway.states import Mode, Status
from gateway.suppression import says_gone
from mirror.store import content_of
from rendering.render import render_message
from risk.jobs import examine
from tests.integration.gateway.world import (
    add_sandbox_keys,
    bad_field_of,
    event_of,
    events_of,
    leave,
    make_world,
    noted,
    refusal_of,
    status_of,
    times_noted,
)

DANA = "dana@northwind.example"


def add(world, email=DANA, key="agent", **fields):
    return world.post("/v1/contacts", key=key, email=email, **fields)


def found(world, query="", key="agent"):
    answer = world.call("GET", f"/v1/contacts?{query}", key=key)
    assert answer.status_code == 200, answer.content
    return [row["email"] for row in answer.json()["contacts"]]


DANA = "dana@northwind.example"
GONE = "gone+1@x.example"
# Replies for an address that is gone, and replies that say nothing about the address.
SUPPRESSES = (
    "550 5.1.1 no such user",
    "550 5.1.1 no such user; check the address and try again",
    "551 User not local",
    "553 mailbox name is not there",
    "550 5.1.10 recipient not found",
    "550 5.1.1 relay says: denied, no such user",
    "550 sorry, no mailbox here by that name (#5.1.1)",
)
SUPPRESSES_NOT = (
    "550 5.7.1 relaying denied",
    "550 relay not permitted",
    "550 sender verify failed",
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
    "550 5.1.8 sender address rejected: domain not found",
    "550 5.1.0 address rejected",
    "552 5.2.2 mailbox full",
    "550 blocked by 5.1.1.2 as spam",
    "554 no",
    "501 what",
)


def suppress(world, address=GONE, **fields):
    values = {
        "account": world.account,
        "mailbox": world.mailbox,
        "reason": "bounce",
        **fields,
    }
    return Suppression.objects.create(email_address=address, **values)


def suppressed():
    return set(Suppression.objects.values_list("email_address", flat=True))


def test_only_refusals_of_an_address_that_is_gone_say_so():
    for replies, expected in ((SUPPRESSES, True), (SUPPRESSES_NOT, False)):
        for reply in replies:
            assert says_gone(int(reply[:3]), reply[4:]) is expected, reply


def test_message_to_a_suppressed_address_is_422_and_names_it(world, other):
    suppress(world)
    for field in ("to", "cc", "bcc"):
        answer = world.send(**{field: [DANA, "GONE+1@X.example"]})
        assert refusal_of(answer) == (422, "recipient_suppressed")
        assert answer.json()["field"] == field
        assert answer.json()["recipients"] == ["GONE+1@x.example"]
    assert not Email.objects.exists()
    assert other.send(to=[GONE]).status_code == 202
    # A restriction is checked first.
    world.allow(DANA)
    assert world.send(to=[GONE]).status_code == 403


def test_suppressed_after_acceptance_is_left_out_and_recorded(listening, mail_server):
    Mailbox.objects.update(auto_bcc="archive@acme.example, also@x.example")
    email = listening.approved(to=[DANA], bcc=[GONE])
    for address in (GONE, "also@x.example"):
        suppress(listening, address)
    assert leave(email) == "sent"
    assert mail_server.taken[0].rcpt_tos == [DANA, "archive@acme.example"]
    assert email.status == Status.SENT
    assert events_of(email.pk) == [
        "message.sent",
        "message.delivered",
        "message.bounced",
    ]
    event = event_of("message.bounced")
    assert event["bounce_type"] == email.bounce_type == "suppressed"
    assert event["bounced_recipients"] == [GONE, "also@x.example"]


# --- commercial mailboxes: postal address, and the link to unsubscribe ---


ADDRESS = "Acme Ltd\n1 Road & Co, Town"
ONE_CLICK = {
    "data": "List-Unsubscribe=One-Click",
    "content_type": "application/x-www-form-urlencoded",
}


@pytest.fixture
def shop(db):
    """An account with a commercial mailbox."""
    world = make_world(commercial=True, signature_block="The team")
    Account.objects.update(physical_address=ADDRESS)
    return world


def patch(world, **fields):
    return world.patch(world.base, **fields)


def link_in(email_id):
    """The path of the link that a message carries."""
    return urlsplit(Email.objects.get(pk=email_id).additions["unsubscribe"]).path


@pytest.mark.parametrize("html", [None, "<p>New <b>lamps</b></p>"])
def test_mail_carries_what_the_reviewer_read_in_both_parts_and_the_headers(
    shop, mail_server, html
):
    email_id = shop.held(markdown="New **lamps**", html=html)
    (row,) = shop.pending()["pending"]
    content = content_of(row)
    decided = shop.decide(email_id, expected_fingerprint=fingerprint(content))
    assert decided.status_code == 200
    assert leave(email_id) == "sent"

    message = mail_server.message()
    link = row["additions"]["unsubscribe"]
    assert message["List-Unsubscribe"] == f"<{link}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["X-AI-Generated"] == "true"
    assert message["X-MultiMail-Identity"] is not None
    text, sent_html = (
        message.get_body((kind,)).get_content().replace("\r\n", "\n")
        for kind in ("plain", "html")
    )
    assert text.splitlines() == [
        "New **lamps**",
        "",
        "-- ",
        "The team",
        "",
        AI_DISCLOSURE,
        *ADDRESS.split("\n"),
        f"Unsubscribe: {link}",
    ]
    assert sent_html.count(AI_DISCLOSURE) == sent_html.count(link) == 1
    # The desk shows the same: the text as it is sent, and the HTML as it reads.
    shown = render_message(content)
    assert render_message(content_of({**row, "html_body": None})).text == text
    assert shown.read == render_message(content_of({"html_body": sent_html})).read
    assert examine(content).findings == ()


def test_one_click_unsubscribes_and_an_admin_lifts_it(shop, mail_server):
    shop.listen("message.refused")
    sent = shop.approved()
    leave(sent)
    path = link_in(sent.pk)
    waiting = shop.held(to="Dana@Northwind.example")
    # Programs that check links open them.
    page = Client().get(path)
    assert '<form method="post"><button>Unsubscribe</button>' in page.text
    assert DANA in page.text
    assert not Suppression.objects.exists()

    for _ in range(2):
        assert "You are unsubscribed" in Client().post(path, **ONE_CLICK).text
    row = Suppression.objects.get()
    assert (row.email_address, row.reason) == (DANA, "unsubscribed")
    assert noted("suppression.added").metadata["email_id"] == sent.pk
    answer = shop.send(to=["DANA@northwind.example"])
    assert refusal_of(answer) == (403, "recipient_unsubscribed")
    assert answer.json()["field"] == "to"
    assert Refusal.objects.get().pk == answer.json()["refusal_id"]
    assert WebhookDelivery.objects.filter(event="message.refused").count() == 1
    assert refusal_of(shop.decide(waiting)) == (409, "recipient_unsubscribed")
    assert status_of(waiting) == Status.PENDING_SEND_APPROVAL

    assert shop.delete(f"/v1/suppression/{DANA}").status_code == 200
    assert shop.decide(waiting).status_code == 200
    assert leave(waiting) == "sent"


def test_who_unsubscribes_after_the_approval_gets_nothing(shop, mail_server):
    shop.listen("message.bounced", "message.failed")
    first = shop.approved()
    email = shop.approved()
    leave(first)
    Suppression.objects.create(
        account=shop.account, email_address=DANA, reason="bounce"
    )
    # That is what stays when the bounce is lifted.
    Client().post(link_in(first.pk), **ONE_CLICK)
    assert Suppression.objects.get().reason == "unsubscribed"
    # Sandbox mail obeys nobody who unsubscribed.
    add_sandbox_keys(shop)
    tried = shop.held(key="tester")
    shop.decide(tried, key="test desk")
    assert [leave(email), leave(tried)] == ["failed", "pretended"]
    assert mail_server.mails == 1
    email.refresh_from_db()
    assert email.refused_recipients[DANA][1].startswith("unsubscribed: ")
    assert events_of(email.pk) == ["message.bounced", "message.failed"]


def test_link_that_nobody_got_is_refused_and_a_forged_one_without_asking_the_database(
    shop, django_assert_num_queries
):
    path = link_in(shop.approved().pk)
    for call in (Client().get, Client().post):
        with django_assert_num_queries(0):
            for token in (
                f"{path}x",
                "/v1/unsubscribe/01JD0000000000000000000000:x",
                "/v1/unsubscribe/x",
            ):
                assert refusal_of(call(token)) == (403, "invalid_link")
        assert call(path).status_code == 404
    assert not Suppression.objects.exists()


def test_commercial_mail_has_one_recipient(shop, mail_server):
    copied = {"cc": ["b@x.example"]}
    for fields in ({"to": [DANA, "b@x.example"]}, copied, {"bcc": ["b@x.example"]}):
        assert refusal_of(shop.send(**fields)) == (422, "one_recipient_only")
    assert shop.send(cc=[DANA]).status_code == 202
    # Of mail that was held before, too.
    Mailbox.objects.update(commercial=False)
    held = shop.held(**copied)
    approved = shop.approved(**copied)
    Mailbox.objects.update(oversight_mode=Mode.AUTONOMOUS)
    later = shop.held(**copied)
    Mailbox.objects.update(commercial=True)
    assert "exactly one recipient" in shop.decide(held).json()["error"]
    assert [leave(approved), leave(later)] == ["sent", "failed"]
    assert [len(one.rcpt_tos) for one in mail_server.taken] == [2]


def test_mailbox_becomes_commercial_only_with_a_postal_address_and_without_copies(
    world,
):
    copied = {"auto_cc": "b@x.example"}
    made = {"address": "offers@acme.example", "commercial": True}
    for answer in (
        patch(world, commercial=1),
        world.post("/v1/mailboxes", key="admin", **made),
    ):
        assert refusal_of(answer) == (422, "physical_address_needed")
    world.patch("/v1/account", physical_address="1 Road")
    refused = patch(world, commercial=True, **copied)
    assert bad_field_of(refused) == (422, "commercial")
    assert patch(world, commercial=True).json()["commercial"] == 1
    assert patch(world, **copied).status_code == 422
    for address in (None, " "):
        answer = world.patch("/v1/account", physical_address=address)
        assert bad_field_of(answer) == (422, "physical_address")
    assert patch(world, commercial=False, **copied).json()["commercial"] == 0


@pytest.mark.slow
def test_link_works_after_a_restore_in_mail_that_may_have_left_since_the_backup(shop):
    approved = shop.approved().pk
    held = shop.held()
    path = link_in(approved)
    other = urlsplit(shop.pending()["pending"][0]["additions"]["unsubscribe"]).path
    hold_back(timezone.now())
    assert status_of(approved) == Status.SENT
    assert status_of(held) == Status.PENDING_SEND_APPROVAL
    assert [Client().post(one, **ONE_CLICK).status_code for one in (path, other)] == [
        200,
        200,
    ]
    assert Suppression.objects.get().reason == "unsubscribed"


def test_contact_is_created_once_per_address_and_deleted_only_by_its_tenant(
    world, other
):
    first = add(world).json()
    again = add(world, "DANA@Northwind.example", name="Other")
    assert refusal_of(again) == (409, "contact_exists")
    assert again.json()["contact_id"] == first["id"]
    assert found(other) == []
    path = f"/v1/contacts/{first['id']}"
    assert other.delete(path).status_code == 404
    assert world.delete(path).json()["deleted"] is True
    assert found(world) == []
    assert world.delete(path).status_code == 404
    assert times_noted("contact.deleted") == 1
