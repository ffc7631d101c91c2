"""Each decision is announced once, whether it is found by webhook, by a read or because
the mail was sent.
"""

import pytest

from alerts.models import Delivery, Destination, Route
from approvals.reconcile.reads import ask_about, read_everything
from mirror.models import Connection, Message
from tests.factories import (
    NOW,
    event_body,
    make_connection,
    make_message,
    pending_row,
    post_confirmed,
    rolled_back,
)
from tests.integration.deciding import carry_out

DECIDED = ("message.approved", "message.released", "message.rejected")


@pytest.fixture
def message(db, upstream):
    connection = make_connection(api_url=upstream.url)
    for kind in ("inngest", "discord_webhook"):
        destination = Destination.objects.create(
            kind=kind, name=kind, url="https://discord.com/api/webhooks/1/token"
        )
        Route.objects.create(
            destination=destination,
            actions=[*DECIDED, "message.sent", "message.bounced"],
        )
    return make_message(connection)


def delivered_events():
    """The events planned for the program, in order; at most one card is planned."""
    assert Delivery.objects.filter(kind="card").count() <= 1
    return list(
        Delivery.objects.filter(kind="event")
        .order_by("pk")
        .values_list("action", flat=True)
    )


def receive_events(client, message, *names):
    for name in names:
        response = post_confirmed(
            client, message.connection, event_body(name, email_id=message.upstream_id)
        )
        assert response.status_code == 200


def hold(upstream, message):
    """Make MultiMail hold the message as the desk knows it."""
    upstream.holds(
        pending_row(
            message.upstream_id, subject=message.subject, metadata=message.trigger
        )
    )


@pytest.mark.parametrize(
    "last", ["message.sent", pytest.param("message.bounced", marks=pytest.mark.slow)]
)
def test_decision_of_this_desk_is_announced_even_if_its_webhook_is_lost(
    client, message, reviewer, upstream, last
):
    hold(upstream, message)
    upstream.decides(200, status="approved", decision="approved")
    assert carry_out(message, reviewer) == "applied"
    receive_events(client, message, last)
    assert delivered_events() == ["message.approved", last]
    # The webhook arrives late, and the desk also checks the message.
    receive_events(client, message, "oversight.approved", last)
    upstream.holds(status="sent", decision="approved")
    ask_about(message_id=message.pk, now=NOW)
    assert delivered_events() == ["message.approved", last]


@pytest.mark.parametrize(
    "decision", ["approved", pytest.param("rejected", marks=pytest.mark.slow)]
)
def test_decision_made_elsewhere_and_found_by_reading_is_announced_once(
    client, message, upstream, decision
):
    Connection.objects.update(read_at=None)
    upstream.holds(pending_row("01OTHER"))
    Message.objects.update(state="gone")
    upstream.holds(
        status="rejected" if decision == "rejected" else "sent", decision=decision
    )
    ask_about(message_id=message.pk, now=NOW)
    acts = [
        f"message.{decision}",
        *(["message.sent"] if decision == "approved" else []),
    ]
    assert delivered_events() == acts
    receive_events(client, message, f"oversight.{decision}")
    assert delivered_events() == acts


@pytest.mark.slow
def test_decision_of_this_desk_is_announced_when_the_next_read_lacks_the_message(
    message, reviewer, upstream
):
    hold(upstream, message)
    upstream.decides(200, status="rejected", decision="rejected")
    assert carry_out(message, reviewer, "reject") == "applied"
    upstream.holds()
    for _ in range(3):
        Connection.objects.update(read_at=None)
        read_everything(connection_id=message.connection_id, now=NOW)
    assert delivered_events() == ["message.rejected"]


def test_unheld_or_already_announced_messages_are_not_announced_as_approved(
    client, message
):
    for state in ("approved", "sent"):
        with rolled_back():
            Message.objects.update(state=state)
            receive_events(client, message, "message.bounced")
            assert delivered_events() == ["message.bounced"], state
