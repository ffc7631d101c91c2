"""Updating cards: one worker per card, no action lost between two edits, and responses
are not trusted.
"""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from alerts.channels import channel_of
from alerts.deliveries.deliver import MAX_ATTEMPTS
from alerts.deliveries.deliver import deliver as deliver_next
from alerts.deliveries.drain import drain
from alerts.deliveries.planning import CARD_ACTIONS
from alerts.models import Card, Delivery, Destination, Route
from audit.models import Entry
from tests import factories
from tests.alerting import deliver, make_message
from tests.factories import event_body, post_confirmed, post_event, rolled_back
from tests.integration.deciding import decide, in_thread, waiting_for_a_lock
from tests.programs import program

NAMELESS = {"email_id": "01LATE", "subject": "", "to": [], "from": "", "metadata": {}}


@pytest.fixture
def destination(discord):
    """A destination with a route for every action that creates or updates a card."""
    return discord.destination(1, actions=CARD_ACTIONS)


def deliver_due():
    return deliver(delivery_id=Delivery.objects.get(state="due").pk)


def cards(discord):
    return [(call.method, call.body["embeds"][0]) for call in discord.calls]


def test_alert_that_fails_is_shown_as_failed_until_it_is_tried_again(
    signed_in, reviewer, connection, discord, destination
):
    make_message(connection)
    discord.next["1"] = [(500, {}, {})]
    due = Delivery.objects.get()
    assert deliver(delivery_id=due.pk) == "postponed"
    page = signed_in(reviewer).get("/alerts/").text
    assert '<span class="chip shape rose">Failed (500)</span>' in page
    assert "Next try" in page
    assert "Discord answered 500." in page
    assert not Delivery.objects.due().exists()
    Delivery.objects.update(next_attempt_at=Now())
    assert deliver(delivery_id=due.pk) == "delivered"
    page = signed_in(reviewer).get("/alerts/").text
    assert '<span class="chip shape green">Delivered (200)</span>' in page
    assert "Failed" not in page
    assert [method for method, _ in cards(discord)] == ["POST", "POST"]


@pytest.mark.slow
def test_card_without_details_is_edited_when_a_late_event_brings_them(
    client, connection, discord, destination
):
    post_event(client, connection, event_body("message.delivered", **NAMELESS))
    # A late event with the details of a message that has no card creates none.
    with rolled_back():
        Delivery.objects.all().delete()
        Card.objects.all().delete()
        Route.objects.update(actions=["message.named"])
        post_event(client, connection, event_body(email_id="01LATE"))
        assert Card.objects.count() == 0
    deliver_due()
    for name in ("oversight.pending", "oversight.approved"):
        post_event(client, connection, event_body(name, email_id="01LATE"))
    # The second event added nothing.
    deliver_due()
    (posted, _), (edited, card) = cards(discord)
    assert posted == "POST"
    assert edited == "PATCH"
    assert card["title"] == "Your refund for order 4471"
    assert card["fields"][1]["value"] == r"dana\@northwind.example"
    assert Entry.objects.of_action("message.named").count() == 1
    assert {call.body["allowed_mentions"]["parse"] == [] for call in discord.calls} == {
        True
    }


@pytest.mark.django_db(transaction=True)
def test_action_that_commits_while_its_card_is_being_sent_is_shown(
    client, connection, discord, destination
):
    message = make_message(connection)
    waiting = Delivery.objects.get()
    with transaction.atomic():
        post_confirmed(
            client,
            connection,
            event_body("oversight.rejected", email_id=message.upstream_id, reason="no"),
        )
        worker, results = in_thread(lambda: deliver(delivery_id=waiting.pk))
        worker.join(60)
    assert results == ["delivered"]
    assert "Rejected" not in cards(discord)[-1][1]["description"]
    assert deliver_due() == "delivered"
    assert "Rejected" in cards(discord)[-1][1]["description"]
    assert not Delivery.objects.filter(state="due").exists()


@pytest.mark.django_db(transaction=True)
def test_destination_is_served_by_one_worker_at_a_time(
    connection, discord, destination
):
    make_message(connection)
    first = Delivery.objects.get()
    second = Delivery.objects.create(
        destination=destination, message=first.message, card=first.card, action="x"
    )
    with transaction.atomic():
        Destination.objects.select_for_update(no_key=True).get(pk=destination.pk)
        worker, results = in_thread(lambda: deliver(delivery_id=second.pk))
        waiting_for_a_lock(database)
        Delivery.objects.claim(first.pk)
    worker.join(60)
    assert results == ["another one is under way"]
    assert discord.calls == []


def test_deliveries_of_dead_workers_do_not_block_each_other_and_fail_after_too_many(
    connection, discord, destination
):
    Destination.objects.update(url=f"{destination.url}?thread_id=42")
    make_message(connection)
    first = Delivery.objects.get()
    with rolled_back():
        Delivery.objects.update(attempts=MAX_ATTEMPTS)
        assert deliver_due() == "failed"
        assert discord.calls == []
    second = Delivery.objects.create(
        destination=destination, message=first.message, card=first.card, action="x"
    )
    Delivery.objects.update(
        state="sending", lease_until=Now() - timedelta(seconds=1), attempts=1
    )
    assert [deliver(delivery_id=one.pk) for one in (first, second)] == [
        "delivered",
        "delivered",
    ]
    # The thread id stays in the address.
    assert discord.calls[0].path == "/api/webhooks/1/token?thread_id=42&wait=true"


def test_unreadable_retry_after_is_a_short_wait(connection, discord, destination):
    make_message(connection)
    for body in ({"retry_after": float("nan")}, {}):
        discord.next["1"] = [(429, {}, body)]
        assert deliver_due() == "asked to wait", body
        assert (
            Delivery.objects.filter(state="due", next_attempt_at__gt=Now()).count() == 1
        ), body
        Delivery.objects.update(next_attempt_at=Now())
        Destination.objects.update(waits_until=None)


def test_invalid_id_in_a_response_is_not_used_in_an_address(
    connection, discord, destination
):
    make_message(connection)
    for one in ("1" * 100, "../../../users/1", {"a": 1}):
        discord.next["1"] = [(200, {}, {"id": one})]
        assert deliver_due() == "delivered"
        assert Card.objects.get().discord_message_id == "", one
        Delivery.objects.update(state="due", next_attempt_at=Now())


def test_task_that_comes_while_another_drains_makes_that_one_look_once_more(
    discord, destination, monkeypatch
):
    looks = []

    def look(**_):
        looks.append(drain(destination_id=destination.pk) if not looks else "")
        return ""

    monkeypatch.setattr("alerts.deliveries.drain.deliver", look)
    assert drain(destination_id=destination.pk) == "0 tried, then nothing left"
    assert looks == ["left to the one that runs", ""]
    # Neither of them still counts as running.
    assert drain(destination_id=destination.pk) == "0 tried, then nothing left"


def test_delivery_takes_few_statements(
    client, connection, discord, destination, reviewer
):
    with program() as receiver:
        url = f"{receiver.url}/hooks"
        secret = channel_of("signed_webhook").new_secret()
        archive = Destination.objects.create(
            kind="signed_webhook", name="Archive", url=url, secret=secret
        )
        archive.routes.create(actions=["message.held"])
        factories.make_message(connection)
        decide(factories.make_message(connection), reviewer)
        Delivery.objects.update(next_attempt_at=Now())
        for one in (destination, archive):
            # The first delivery builds what each one reads.
            for _ in range(2):
                with CaptureQueriesContext(database) as queries:
                    assert deliver_next(destination_id=one.pk).startswith("delivered")
            read = [query for query in queries if "SAVEPOINT" not in query["sql"]]
            assert len(read) <= 20, [query["sql"] for query in read]
