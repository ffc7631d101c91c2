"""Resending deliveries, posting by the bot, and the order of a message's events."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from alerts.deliveries.deliver import claim
from alerts.deliveries.drain import drain, with_something_due
from alerts.deliveries.resending import resend
from alerts.deliveries.waits import hold_back
from alerts.errors import NotResent
from alerts.models import Card, Delivery, Destination
from audit.models import Entry
from tests.alerting import deliver, make_message

HELD = ("message.held",)


@pytest.fixture
def delivered(discord, connection):
    """A delivery whose card was posted."""
    destination = discord.destination(1, actions=HELD)
    make_message(connection)
    drain(destination_id=destination.pk)
    return Delivery.objects.get()


def test_resent_card_is_edited_or_posted_again_if_it_was_deleted(
    discord, delivered, admin
):
    # What Discord reported of the channel.
    assert Destination.objects.get().posts_in == "91"
    again = resend(delivered.pk, admin.actor(surface="web"))
    assert again.again_of == delivered
    assert again.card_id == delivered.card_id
    assert again.state == "due"
    drain(destination_id=delivered.destination_id)
    entry = Entry.objects.get(action="alert.sent_again")
    assert entry.actor_id == str(admin.pk)
    assert entry.message == delivered.message.public_id

    discord.posts.clear()
    Card.objects.update(removed=True)
    resend(delivered.pk, admin.actor(surface="web"))
    drain(destination_id=delivered.destination_id)
    assert [call.method for call in discord.calls] == ["POST", "PATCH", "POST"]
    assert len(discord.posts_in(1)) == 1


def test_resending_is_refused_for_reviewers_and_for_disabled_destinations(
    delivered, admin, reviewer
):
    with pytest.raises(NotResent, match="Only an admin"):
        resend(delivered.pk, reviewer.actor(surface="web"))
    Destination.objects.update(switched_off_at=Now())
    with pytest.raises(NotResent, match="switched off"):
        resend(delivered.pk, admin.actor(surface="web"))
    Destination.objects.update(switched_off_at=None)
    Delivery.objects.update(state="due")
    with pytest.raises(NotResent, match="still waiting"):
        resend(delivered.pk, admin.actor(surface="web"))
    assert Delivery.objects.count() == 1


def test_bot_posts_and_edits_with_its_token_which_is_never_logged(
    upstream, discord, connection, admin, settings, caplog
):
    settings.DISCORD_BOT_TOKEN = "a-bot's-token"
    settings.DISCORD_API_URL = f"{upstream.url}/api/v10"
    destination = Destination.objects.create(
        name="#desk", kind="discord_bot", channel="42"
    )
    destination.routes.create(actions=list(HELD))
    path = "/api/v10/channels/42/messages"
    upstream.answers[path] = (200, {"id": "7", "channel_id": "42"})
    upstream.answers[f"{path}/7"] = (500, {"said": "a-bot's-token"})
    make_message(connection)
    drain(destination_id=destination.pk)
    resend(Delivery.objects.get().pk, admin.actor(surface="web"))
    drain(destination_id=destination.pk)
    assert [(method, asked) for method, asked, _ in upstream.calls] == [
        ("POST", path),
        ("PATCH", f"{path}/7"),
    ]
    assert set(upstream.keys) == {"Bot a-bot's-token"}
    last = Delivery.objects.latest("pk")
    assert last.state == "due"
    assert last.response_status == 500
    assert "token" not in last.answer + last.request + last.last_error + caplog.text


def claimed_at(destination):
    """What a worker has claimed there."""
    claimed, _ = claim(destination.pk)
    return claimed


def test_event_waits_for_earlier_events_of_the_same_message(connection):
    destination = Destination.objects.create(
        name="program", kind="signed_webhook", url="https://program.example/hook"
    )
    message = make_message(connection)
    other = make_message(connection)
    first, second, others = (
        Delivery.objects.create(
            kind="event",
            destination=destination,
            message=one,
            entry=number,
            action="message.held",
        )
        for number, one in enumerate((message, message, other), start=1)
    )
    Delivery.objects.filter(pk=first.pk).update(
        next_attempt_at=Now() + timedelta(hours=1)
    )
    assert claimed_at(destination) == others
    assert deliver(delivery_id=second.pk) == "not due"
    assert claimed_at(destination) is None
    Delivery.objects.filter(pk=first.pk).update(state="failed")
    assert claimed_at(destination) == second


@pytest.mark.slow
def test_destination_that_fails_twice_pauses_and_its_other_deliveries_wait(
    discord, connection
):
    destination = discord.destination(1, actions=HELD)
    discord.next["1"] = [(502, {}, {})] * 9
    free = discord.destination(2, actions=HELD)
    for _ in range(3):
        make_message(connection)
    assert drain(destination_id=destination.pk) == "2 tried, then not due"
    # A waiting destination is not called, and a shorter wait does not end a longer one.
    for seconds in (3600, 0.001):
        hold_back(destination.pk, seconds)
        assert with_something_due() == [free.pk]
    assert not Delivery.objects.filter(destination=destination).overdue().exists()
    destination.refresh_from_db()
    assert destination.failures == 2
    assert len(discord.calls) == 2
    Destination.objects.update(waits_until=None)
    discord.next["1"] = []
    drain(destination_id=destination.pk)
    destination.refresh_from_db()
    assert destination.failures == 0
    assert len(discord.posts_in(1)) == 1
