"""Suppressed addresses: which bounces create one, what it blocks, and how it is lifted.
Contacts: who may add and remove them, and how they are found.
"""

from urllib.parse import quote

import pytest

from common.fingerprint import fingerprint
from gateway.messages.content import AI_DISCLOSURE
from gateway.models import (
    Email,
    Mailbox,
    Suppression,
)
from gateway.states import Status
from gateway.suppression import says_gone
from mirror.store import content_of
from rendering.render import parse_content, render_message
from risk import find_risks
from risk.findings import RiskContext
from tests.integration.gateway.world import (
    add_key,
    add_sandbox_keys,
    bad_field_of,
    event_of,
    events_of,
    leave,
    make_world,
    noted,
    refusal_of,
    times_noted,
)

DANA = "dana@northwind.example"
GONE = "gone+1@x.example"
# Replies for an address that is gone, and replies that say nothing about the address.
SUPPRESSES = (
    "550 5.1.1 no such user",
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


def lift(world, path, key="admin"):
    return world.delete(f"/v1/suppression/{path}", key=key)


def suppressed():
    return set(Suppression.objects.values_list("email_address", flat=True))


def test_only_refusals_of_an_address_that_is_gone_say_so():
    for replies, expected in ((SUPPRESSES, True), (SUPPRESSES_NOT, False)):
        for reply in replies:
            assert says_gone(int(reply[:3]), reply[4:]) is expected, reply


def test_bounce_of_an_address_that_is_gone_suppresses_it_and_another_does_not(
    world, mail_server
):
    mail_server.refuse = {
        "Gone+1@x.example": SUPPRESSES[0],
        "policy@x.example": SUPPRESSES_NOT[0],
    }
    assert leave(world.approved(to=[DANA, *mail_server.refuse])) == "sent"
    row = Suppression.objects.get()
    assert (row.email_address, row.reason) == (GONE, "bounce")
    assert row.mailbox_id == world.mailbox.pk
    assert noted("suppression.added").metadata["email_address"] == GONE
    assert world.send(to=["policy@x.example"]).status_code == 202


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
    email.refresh_from_db()
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


def test_suppression_is_lifted_however_its_address_is_written(world):
    for path in (GONE, quote(GONE, safe=""), "GONE%2B1@X.example."):
        suppress(world)
        assert lift(world, path).json()["status"] == "removed", path
        assert lift(world, path).status_code == 404
    assert times_noted("suppression.removed") == 3
    assert world.send(to=[GONE]).status_code == 202
    for address in ("a/b@x.example", "a%b@x.example"):
        suppress(world, address)
        assert lift(world, quote(address)).status_code == 200, address
    for path in ("nonsense", "%00"):
        assert lift(world, path).status_code == 404, path


def test_list_is_newest_first_with_pages(world, other):
    addresses = [f"gone{number}@x.example" for number in range(3)]
    for address in addresses:
        suppress(world, address)
    add_key(world, "limited", ["admin"], mailbox_ids=["elsewhere"])
    # Suppression applies to the whole account, whichever mailbox bounced.
    for whose, key, found in (
        (world, "limited", addresses[::-1]),
        (other, "admin", []),
    ):
        rows = whose.walk("/v1/suppression", "suppressions", key=key)
        assert [row["email_address"] for row in rows] == found
        assert lift(whose, addresses[0], key).status_code == 404


def add(world, email=DANA, key="agent", **fields):
    return world.post("/v1/contacts", key=key, email=email, **fields)


def found(world, query="", key="agent"):
    answer = world.call("GET", f"/v1/contacts?{query}", key=key)
    assert answer.status_code == 200, answer.content
    return [row["email"] for row in answer.json()["contacts"]]


def test_contact_is_added_with_all_its_fields_and_found(world):
    tags = ["vip", "vip", "eu"]
    address = "Dana <Dana.B+x@BÜCHER.example.>"
    body = add(world, address, name="Dana B", tags=tags).json()
    assert body["name"] == "Dana B"
    assert body["email"] == "dana.b+x@xn--bcher-kva.example"
    assert body["tags"] == ["vip", "eu"]
    assert noted("contact.created").resource_id == body["id"]
    unnamed = add(world, "n@x.example", name="  ", tags="a, b,,").json()
    assert unnamed["name"] == "n@x.example"
    assert unnamed["tags"] == ["a", "b"]
    for query in ("query=dana", "q=dana.b%2Bx@b%C3%BCcher.example", "q=eu"):
        assert found(world, query) == [body["email"]], query
    rows = world.walk("/v1/contacts", "contacts")
    assert [row["id"] for row in rows] == [unnamed["id"], body["id"]]


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


def test_contact_bad_field_is_422_and_names_it(world):
    for field, value in (
        ("email", "a@x.example\r\nBcc: b@x.example"),
        ("name", "Dana\r\nX: y"),
        ("tags", [f"t{number}" for number in range(51)]),
    ):
        answer = world.call("POST", "/v1/contacts", json={"email": DANA, field: value})
        assert bad_field_of(answer) == (422, field), value


def test_list_by_mailbox_has_its_own_and_shared_contacts_and_limited_keys_see_no_others(
    world, other
):
    add_sandbox_keys(world)
    add(world)
    add(world, "ben@x.example", key="tester", mailbox=world.mailbox.address)
    for key in ("agent", "tester"):
        query = f"mailbox={world.mailbox.pk}"
        assert found(world, query, key) == ["ben@x.example", DANA]
    theirs = world.call("GET", f"/v1/contacts?mailbox={other.mailbox.pk}")
    assert theirs.status_code == 404
    assert add(world, "c@x.example", mailbox_id=other.mailbox.pk).status_code == 404
    add_key(world, "limited", ["read"], mailbox_ids=["elsewhere"])
    assert found(world, key="limited") == [DANA]


# --- what the mailbox adds ---


@pytest.mark.parametrize("html", [None, "<p>New <b>lamps</b></p>"])
def test_mail_carries_what_the_reviewer_read_in_both_parts_and_the_headers(
    db, mail_server, html
):
    shop = make_world(signature_block="The team")
    email_id = shop.held(markdown="New **lamps**", html=html)
    (row,) = shop.pending()["pending"]
    content = content_of(row)
    decided = shop.decide(email_id, expected_fingerprint=fingerprint(content))
    assert decided.status_code == 200
    assert leave(email_id) == "sent"

    message = mail_server.message()
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
    ]
    assert sent_html.count(AI_DISCLOSURE) == 1
    # The desk shows the same: the text as it is sent, and the HTML as it reads.
    shown = render_message(content)
    assert render_message(content_of({**row, "html_body": None})).text == text
    assert shown.read == render_message(content_of({"html_body": sent_html})).read
    parsed = parse_content(content)
    assert (
        find_risks(content, parsed.shown, RiskContext(text_part=parsed.text_part)) == ()
    )
