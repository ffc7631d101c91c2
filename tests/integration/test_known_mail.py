"""History used when a message is examined: known recipients, rejected lookalikes, and
the cost of both.
"""

import pytest
from django.core.cache import caches

from approvals.models import Decision
from tests.factories import (
    change_row,
    event_body,
    make_message,
    post_event,
    rolled_back,
)
from tests.integration.deciding import decided


@pytest.fixture(autouse=True)
def _clear_contacts():
    caches["process"].clear()


def message_text(name="Dana", number=4471, amount="120.00", day=3):
    return (
        f"Dear {name},\n\nyour invoice {number} over EUR {amount} is due on {day} May. Please transfer it to the "
        "account that you know, and answer this letter when you have done so, because our books are closed soon "
        "after.\n\nBilling"
    )


def rejected(connection, person, **fields):
    """A message that somebody rejected, as MultiMail confirmed."""
    message = make_message(connection, markdown=message_text(), **fields)
    decided(message, person, "reject", "Wrong bank account", state="applied")
    change_row(message, state="rejected")
    return message


def findings(message, rule):
    message.refresh_from_db()
    return [one for one in message.revision.findings if one["rule"] == rule]


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
