"""History used when a message is examined: known recipients, rejected lookalikes, and
the cost of both.
"""

from datetime import timedelta

import pytest
from django.db.models import F

from approvals import examination
from approvals.models import Decision
from mirror.models import Message
from tests.factories import (
    change_row,
    event_body,
    make_connection,
    make_message,
    post_event,
    rolled_back,
)
from tests.integration.deciding import decided


@pytest.fixture(autouse=True)
def _clear_contacts(monkeypatch):
    monkeypatch.setattr(examination, "_contacts_by_connection", {})


def message_text(name="Dana", number=4471, amount="120.00", day=3):
    return (
        f"Dear {name},\n\nyour invoice {number} over EUR {amount} is due on {day} May. Please transfer it to the "
        "account that you know, and answer this letter when you have done so, because our books are closed soon "
        "after.\n\nBilling"
    )


def written(connection, **fields):
    message = make_message(connection, **fields)
    change_row(message, state="delivered")
    return message


def rejected(connection, person, **fields):
    """A message that somebody rejected, as MultiMail confirmed."""
    message = make_message(connection, markdown=message_text(), **fields)
    decided(message, person, "reject", "Wrong bank account", state="applied")
    change_row(message, state="rejected")
    return message


def findings(message, rule):
    message.refresh_from_db()
    return [one for one in message.revision.findings if one["rule"] == rule]


def first_contacts(connection, *people):
    """The recipients that a new message to these would be the first to."""
    found = findings(
        make_message(connection, to_addresses=list(people)), "first_contact"
    )
    return found[0]["evidence"] if found else []


@pytest.mark.slow
def test_address_is_known_once_a_message_to_it_was_sent(connection):
    written(connection, to_addresses=["ben@contoso.example"])
    both = ["dana@northwind.example", "eve@northwind.example"]
    written(make_connection("other"), to_addresses=both)
    earlier = written(
        connection, to_addresses=["Dana <dana@northwind.example>"], cc=both[1:]
    )
    for fields, is_known in (
        ({"state": "held"}, False), ({"state": "delivered", "sandbox": True}, False),
        # Messages sent since count although contacts are cached.
        ({"state": "approved"}, True),
    ):  # fmt: skip
        change_row(earlier, **{"sandbox": False, **fields})
        assert first_contacts(connection, *both) == ([] if is_known else both), fields


def test_unheld_message_makes_its_recipients_known_even_if_they_arrive_later(
    client, connection
):
    for name, fields in (
        ("message.delivered", {"email_id": "01A", "to": [], "status": "delivered"}),
        ("message.sent", {"email_id": "01A", "status": "sent"}),
        ("message.sent", {"to": ["B <Billing@Northwind.example>"], "status": "sent"}),
    ):
        post_event(client, connection, event_body(name, **fields))
    message = make_message(
        connection,
        to_addresses=["billing@northwlnd.example", "billing@northwind.example"],
    )
    [found] = findings(message, "lookalike_recipient")
    assert "is not northwind.example, 2 messages so far." in found["detail"]
    [found] = findings(message, "first_contact")
    assert found["evidence"] == ["billing@northwlnd.example"]


def rejections_found(connection, text):
    return findings(make_message(connection, markdown=text), "rejected_before")


@pytest.mark.slow
def test_lookalike_of_a_rejected_message_names_who_when_and_why_within_the_visible_scope(
    connection, reviewer
):
    before = rejected(connection, reviewer)
    [found] = rejections_found(connection, message_text("Bob", 99, "99,000.00", 30))
    assert found["level"] == "high"
    assert f"the same text was rejected by {reviewer} on" in found["sentence"]
    assert found["detail"] == "“Wrong bank account”"
    assert found["evidence"] == [str(before.public_id)]
    other = "Dear Dana,\n\nthank you for coming to our open day. The pictures are online, and so is the list of talks."
    assert rejections_found(connection, other) == []
    # A rejection in another mailbox has no name and no link.
    with rolled_back():
        change_row(before, mailbox=connection.mailboxes.create(upstream_id="01OTHER"))
        [found] = rejections_found(connection, message_text())
        assert "in another mailbox" in found["sentence"]
        assert found["evidence"] == []
        assert "Wrong bank account" not in str(found)
        assert str(reviewer) not in str(found)
    # A rejection at MultiMail has the name that MultiMail reports.
    Decision.objects.all().delete()
    reason = "No. [countersign:ABC123]"
    change_row(before, upstream_decided_by="ops@acme.example", upstream_reason=reason)
    [found] = rejections_found(connection, message_text())
    assert "was rejected by ops@acme.example on" in found["sentence"]
    assert found["detail"] == "“No.”"


@pytest.mark.slow
def test_rejections_by_rules_or_of_another_kind_do_not_count(connection, reviewer):
    before = rejected(connection, reviewer, thread_id="one")
    old = {"changed_at": F("changed_at") - timedelta(days=91)}
    for model, fields in (
        (Decision, {"outcome": "send_back"}), (Decision, {"rule": "expiry"}), (Message, {"sandbox": True}),
        (Message, {"direction": "inbound"}), (Message, old),
    ):  # fmt: skip
        with rolled_back():
            model.objects.update(**fields)
            assert rejections_found(connection, message_text()) == [], fields
    assert rejections_found(make_connection("other"), message_text()) == []
    # Test messages are compared with each other.
    change_row(before, sandbox=True)
    again = make_message(connection, markdown=message_text(), sandbox=True)
    assert findings(again, "rejected_before")
