"""History used when a message is examined: known recipients, rejected lookalikes, and
the cost of both.
"""

from datetime import timedelta
from time import monotonic

import pytest
from django.db import connection as database
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from approvals import examination
from approvals.models import Decision
from mirror.models import Mailbox, Message
from tests.factories import (
    change_row,
    event_body,
    make_connection,
    make_message,
    make_person,
    post_event,
    rolled_back,
    show_row,
)
from tests.integration.deciding import decide

TEXT = (
    "Dear {name},\n\nyour invoice {number} over EUR {amount} is due on {day} May. Please transfer it to the account "
    "that you know, and answer this letter when you have done so, because our books are closed soon after.\n\nBilling"
)


@pytest.fixture(autouse=True)
def _clear_contacts():
    examination._contacts_by_connection.clear()
    yield
    examination._contacts_by_connection.clear()


def message_text(name="Dana", number=4471, amount="120.00", day=3):
    return TEXT.format(name=name, number=number, amount=amount, day=day)


def written(connection, *, state="delivered", **fields):
    message = make_message(connection, **fields)
    change_row(message, state=state)
    return message


def rejected(
    connection,
    person,
    *,
    outcome="reject",
    reason="Wrong bank account",
    rule="",
    **fields,
):
    """A message that somebody rejected, as MultiMail confirmed."""
    message = make_message(connection, **{"markdown": message_text(), **fields})
    result = decide(message, person, outcome, reason)
    Decision.objects.filter(pk=result.decision.pk).update(state="applied", rule=rule)
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
    post_event(
        client,
        connection,
        event_body("message.delivered", email_id="01LATER", to=[], status="delivered"),
    )
    assert Message.objects.get().addresses == []
    post_event(
        client,
        connection,
        event_body("message.sent", email_id="01LATER", status="sent"),
    )
    assert Message.objects.get().addresses == ["dana@northwind.example"]
    fields = {
        "email_id": "01AUTO",
        "to": ["Billing <Billing@Northwind.example>"],
        "status": "sent",
    }
    assert (
        post_event(client, connection, event_body("message.sent", **fields)).status_code
        == 200
    )
    message = make_message(
        connection,
        to_addresses=["billing@northwlnd.example", "billing@northwind.example"],
    )
    [found] = findings(message, "lookalike_recipient")
    assert (
        found["detail"]
        == "billing@northwlnd.example is not northwind.example, 2 messages so far."
    )
    assert [one["evidence"] for one in findings(message, "first_contact")] == [
        ["billing@northwlnd.example"]
    ]


@pytest.mark.slow
def test_many_unknown_recipients_are_looked_up_at_once(connection):
    people = [f"p{number}@contoso.example" for number in range(300)]
    written(connection, to_addresses=people[:250])
    examination._contacts_by_connection.clear()
    examination._contacts_by_connection[connection.pk] = (
        monotonic(),
        {"somebody@else.example": 1},
    )
    [found] = findings(make_message(connection, to_addresses=people), "first_contact")
    assert found["sentence"] == "Nobody has written to 50 of these addresses before."


@pytest.mark.slow
def test_examining_a_message_costs_the_same_at_any_history_length(
    connection, monkeypatch
):
    # A worker plans alerts after.
    monkeypatch.setattr("alerts.tasks.plan.delay_on_commit", lambda: None)

    def statements():
        message = make_message(connection)
        with CaptureQueriesContext(database) as asked:
            show_row(
                message,
                markdown=message_text(amount="1.00"),
                to_addresses=["new@contoso.example"],
            )
        return len(
            [one for one in asked.captured_queries if "SAVEPOINT" not in one["sql"]]
        )

    written(connection)
    first = statements()
    for number in range(2):
        written(connection, to_addresses=[f"p{number}@contoso.example"])
    assert statements() == first <= 24


def rejections_found(connection, text):
    return findings(make_message(connection, markdown=text), "rejected_before")


def test_lookalike_of_a_rejected_message_names_who_when_and_why_within_the_visible_scope(
    connection, reviewer
):
    before = rejected(connection, reviewer)
    [found] = rejections_found(connection, message_text("Bob", 99, "99,000.00", 30))
    assert found["level"] == "high"
    assert found["sentence"].startswith(
        f"A message with the same text was rejected by {reviewer} on "
    )
    assert found["sentence"].endswith(" UTC.")
    assert found["detail"] == "“Wrong bank account”"
    assert found["evidence"] == [str(before.public_id)]
    # The finding is milder if a few words differ, and absent for another message.
    [found] = rejections_found(
        connection, message_text().replace("Please transfer", "Kindly transfer")
    )
    assert found["level"] == "notice"
    assert "a few different words" in found["sentence"]
    other = "Dear Dana,\n\nthank you for coming to our open day. The pictures are online, and so is the list of talks."
    assert rejections_found(connection, other) == []
    # A rejection in another mailbox has no name and no link.
    sales = Mailbox.objects.create(
        connection=connection, upstream_id="01OTHER", address="sales@yourteam.example"
    )
    with rolled_back():
        change_row(before, mailbox=sales)
        [found] = rejections_found(connection, message_text())
        assert "in another mailbox" in found["sentence"]
        assert found["detail"] == ""
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


def test_rejections_by_rules_or_of_another_kind_do_not_count(connection, reviewer):
    before = rejected(connection, reviewer, thread_id="one")
    old = {"changed_at": F("changed_at") - timedelta(days=91)}
    for model, fields in (
        (Decision, {"outcome": "send_back"}), (Decision, {"rule": "expiry"}), (Message, {"sandbox": True}),
        (Message, {"direction": "inbound"}), (Message, old),
    ):  # fmt: skip
        with rolled_back():
            model.objects.update(**fields)
            again = make_message(connection, markdown=message_text(), thread_id="two")
            assert findings(again, "rejected_before") == [], fields
    assert (
        findings(
            make_message(make_connection("other"), markdown=message_text()),
            "rejected_before",
        )
        == []
    )
    # Test messages are compared with each other.
    change_row(before, sandbox=True)
    assert findings(
        make_message(connection, markdown=message_text(), sandbox=True),
        "rejected_before",
    )


@pytest.mark.slow
def test_next_version_after_requested_changes_is_not_a_repetition(connection, reviewer):
    rejected(connection, reviewer, thread_id="one")
    rejected(connection, reviewer, outcome="send_back", thread_id="two")
    again = make_message(connection, markdown=message_text(), thread_id="two")
    assert again.answers is not None
    assert findings(again, "rejected_before") == []


@pytest.mark.slow
def test_many_expired_messages_do_not_hide_a_rejection_in_the_same_mailbox(
    connection, reviewer
):
    rejected(connection, reviewer)
    eve = make_person("eve@yourteam.example", "Eve", "reviewer")
    for _ in range(2):
        rejected(connection, eve, rule="expiry")
    [found] = rejections_found(connection, message_text())
    assert f"by {reviewer} on" in found["sentence"]
