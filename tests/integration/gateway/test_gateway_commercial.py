"""Commercial mailboxes: the postal address and the link to unsubscribe in their mail,
and what unsubscribing does.
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
from mirror.store import content_of
from rendering.render import parse_content, render_message
from risk import find_risks
from risk.findings import RiskContext
from tests.integration.gateway.world import (
    add_sandbox_keys,
    bad_field_of,
    events_of,
    leave,
    make_world,
    noted,
    refusal_of,
    status_of,
)

DANA = "dana@northwind.example"
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
    row = shop.pending()["pending"][0]
    content = content_of(row)
    assert fingerprint(content) == row["fingerprint"]
    assert (
        shop.decide(email_id, expected_fingerprint=row["fingerprint"]).status_code
        == 200
    )
    assert leave(email_id) == "sent"

    message = mail_server.message()
    link = row["additions"]["unsubscribe"]
    assert link.startswith("http://127.0.0.1:")
    assert message["List-Unsubscribe"] == f"<{link}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["X-AI-Generated"] == "true"
    assert message["X-MultiMail-Identity"] is not None
    text, sent_html = (
        message.get_body((kind,)).get_content().replace("\r\n", "\n")
        for kind in ("plain", "html")
    )
    lines = [
        "New **lamps**",
        "",
        "-- ",
        "The team",
        "",
        AI_DISCLOSURE,
        *ADDRESS.split("\n"),
        f"Unsubscribe: {link}",
    ]
    assert text.splitlines() == lines
    assert sent_html.count(AI_DISCLOSURE) == sent_html.count(link) == 1
    assert "The team</p>" in sent_html.partition(AI_DISCLOSURE)[0]
    # The desk shows the same: the text as it is sent, and the HTML as it reads.
    shown = render_message(content)
    assert render_message(content_of({**row, "html_body": None})).text == text
    assert shown.read == render_message(content_of({"html_body": sent_html})).read
    assert [one.target for one in shown.links] == [link]
    parsed = parse_content(content)
    assert (
        find_risks(content, parsed.shown, RiskContext(text_part=parsed.text_part)) == ()
    )


def test_one_click_unsubscribes_and_an_admin_lifts_it(shop, mail_server):
    shop.listen("message.refused")
    sent = shop.approved()
    leave(sent)
    message = mail_server.message()
    path = urlsplit(message["List-Unsubscribe"].strip("<>")).path
    waiting = shop.held(to="Dana@Northwind.example")
    # Programs that check links open them.
    page = Client().get(path)
    assert page.status_code == 200
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert '<form method="post"><button>Unsubscribe</button>' in page.text
    assert f"Should {DANA} get no more mail from Acme?" in page.text
    assert not Suppression.objects.exists()

    for _ in range(2):
        page = Client().post(path, **ONE_CLICK)
        assert page.status_code == 200
        assert "You are unsubscribed" in page.text
    row = shop.get("/v1/suppression", key="admin")["suppressions"][0]
    assert row["email_address"] == DANA
    assert row["reason"] == "unsubscribed"
    assert row["mailbox_id"] == shop.mailbox.pk
    assert noted("suppression.added").metadata["email_id"] == sent.pk
    answer = shop.send(to=["DANA@northwind.example"])
    body = answer.json()
    assert answer.status_code == 403
    assert body["code"] == "recipient_unsubscribed"
    assert body["field"] == "to"
    assert body["error"].endswith(
        "unsubscribed from this account's mail. Nothing was queued."
    )
    assert Refusal.objects.get().rule == "unsubscribed"
    assert Refusal.objects.get().pk == body["refusal_id"]
    assert WebhookDelivery.objects.filter(event="message.refused").count() == 1
    refused = shop.decide(waiting)
    assert refusal_of(refused) == (409, "recipient_unsubscribed")
    assert status_of(waiting) == Status.PENDING_SEND_APPROVAL

    assert shop.delete(f"/v1/suppression/{DANA}", key="agent").status_code == 403
    assert shop.delete(f"/v1/suppression/{DANA}").status_code == 200
    assert shop.decide(waiting).status_code == 200
    assert leave(waiting) == "sent"


def test_who_unsubscribes_after_the_approval_gets_nothing(shop, mail_server):
    shop.listen("message.bounced", "message.failed")
    first = shop.approved()
    email = shop.approved()
    assert leave(first) == "sent"
    Suppression.objects.create(
        account=shop.account, email_address=DANA, reason="bounce"
    )
    # That is what stays when the bounce is lifted.
    Client().post(link_in(first.pk), **ONE_CLICK)
    assert Suppression.objects.get().reason == "unsubscribed"
    assert leave(email) == "failed"
    assert mail_server.mails == 1
    email.refresh_from_db()
    assert email.refused_recipients[DANA][1].startswith("unsubscribed: ")
    assert events_of(email.pk) == ["message.bounced", "message.failed"]


def test_link_that_nobody_got_is_refused_and_a_forged_one_without_asking_the_database(
    shop, django_assert_num_queries
):
    path = link_in(shop.approved().pk)
    with django_assert_num_queries(0):
        for call in (Client().get, Client().post):
            for token in (
                f"{path}x",
                "/v1/unsubscribe/01JD0000000000000000000000:x",
                "/v1/unsubscribe/x",
            ):
                answer = call(token)
                assert refusal_of(answer) == (403, "invalid_link")
    for call in (Client().get, Client().post):
        answer = call(path)
        assert answer.status_code == 404
        assert answer.json()["error"] == "No message with this link was sent."
    assert not Suppression.objects.exists()


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


def test_sandbox_mail_obeys_nobody_who_unsubscribed(shop):
    Suppression.objects.create(
        account=shop.account, email_address=DANA, reason="unsubscribed"
    )
    add_sandbox_keys(shop)
    tried = shop.held(key="tester")
    assert shop.decide(tried, key="test desk").status_code == 200
    assert leave(tried) == "pretended"


def test_commercial_mail_has_one_recipient(shop, mail_server):
    for fields in (
        {"to": [DANA, "b@x.example"]},
        {"cc": ["b@x.example"]},
        {"bcc": ["b@x.example"]},
    ):
        answer = shop.send(**fields)
        assert refusal_of(answer) == (422, "one_recipient_only")
        assert "exactly one recipient" in answer.json()["error"]
    assert shop.send(to=[DANA], cc=[DANA]).status_code == 202
    # Of mail that was held before, too.
    Mailbox.objects.update(commercial=False)
    held = shop.held(cc=["b@x.example"])
    approved = shop.approved(cc=["b@x.example"])
    Mailbox.objects.update(commercial=True)
    assert "exactly one recipient" in shop.decide(held).json()["error"]
    assert leave(approved) == "sent"
    assert len(mail_server.taken[0].rcpt_tos) == 2
    Mailbox.objects.update(commercial=False, oversight_mode=Mode.AUTONOMOUS)
    later = shop.held(cc=["b@x.example"])
    Mailbox.objects.update(commercial=True)
    assert leave(later) == "failed"
    assert len(mail_server.taken) == 1


def test_mailbox_becomes_commercial_only_with_a_postal_address_and_without_copies(
    world,
):
    made = {"address": "offers@acme.example", "commercial": True}
    for answer in (
        patch(world, commercial=1),
        world.post("/v1/mailboxes", key="admin", **made),
    ):
        assert refusal_of(answer) == (422, "physical_address_needed")
    account = {"physical_address": "1 Road"}
    assert world.patch("/v1/account", **account).status_code == 200
    assert (
        patch(world, commercial=True, auto_bcc="b@x.example").json()["field"]
        == "commercial"
    )
    assert patch(world, commercial=True).json()["commercial"] == 1
    assert world.post("/v1/mailboxes", key="admin", **made).json()["commercial"] == 1
    assert patch(world, auto_cc="b@x.example").status_code == 422
    assert patch(world, display_name="Offers").status_code == 200
    for address in (None, "", " "):
        answer = world.patch("/v1/account", physical_address=address)
        assert bad_field_of(answer) == (422, "physical_address")
    assert (
        patch(world, commercial=False, auto_cc="b@x.example").json()["commercial"] == 0
    )
