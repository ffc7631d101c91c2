"""Sending once more, by the bot, and in the order of a message's events."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from alerts.models import Card, Delivery, Destination
from alerts.sending.again import NotSentAgain, send_again
from alerts.sending.deliver import deliver_card
from alerts.sending.drain import drain, with_something_due
from alerts.sending.waits import hold_back
from audit.models import Entry
from tests.alerting import discord as discord_standin
from tests.factories import make_message

pytestmark = pytest.mark.django_db
HELD = ("message.held",)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    """The content is there at once in these tests, so a held card need not wait for it."""
    monkeypatch.setattr("alerts.planning.CONTENT_PAUSE", timedelta(0))


@pytest.fixture
def discord():
    with discord_standin() as standin:
        yield standin


@pytest.fixture
def told(discord, connection):
    """A delivery of a card that stands in the channel."""
    place = discord.place(1, actions=HELD)
    make_message(connection)
    drain(destination_id=place.pk)
    return Delivery.objects.get()


def test_card_that_is_sent_again_is_brought_up_to_date_where_it_stands(discord, told, admin):
    again = send_again(told.pk, admin.actor(surface="web"))
    assert (again.again_of, again.kind, again.card_id, again.state) == (told, "card", told.card_id, "due")
    drain(destination_id=told.destination_id)
    assert [call.method for call in discord.calls] == ["POST", "PATCH"]
    entry = Entry.objects.get(action="alert.sent_again")
    assert (entry.actor_id, entry.message) == (str(admin.pk), told.message.public_id)


def test_card_that_was_deleted_is_posted_anew_when_somebody_sends_it_again(discord, told, admin):
    discord.posts.clear()
    Card.objects.update(removed=True)
    send_again(told.pk, admin.actor(surface="web"))
    drain(destination_id=told.destination_id)
    assert [call.method for call in discord.calls] == ["POST", "POST"]
    assert len(discord.standing(1)) == 1


def test_nothing_is_sent_again_by_a_reviewer_or_where_nothing_goes(told, admin, reviewer):
    with pytest.raises(NotSentAgain, match="Only an admin"):
        send_again(told.pk, reviewer.actor(surface="web"))
    Destination.objects.update(switched_off_at=Now())
    with pytest.raises(NotSentAgain, match="switched off"):
        send_again(told.pk, admin.actor(surface="web"))
    Destination.objects.update(switched_off_at=None)
    Delivery.objects.update(state="due")
    with pytest.raises(NotSentAgain, match="still waits"):
        send_again(told.pk, admin.actor(surface="web"))
    assert Delivery.objects.count() == 1


def test_bot_posts_and_edits_by_its_token_which_no_log_tells(upstream, connection, admin, settings, caplog):
    settings.DISCORD_BOT_TOKEN, settings.DISCORD_API_URL = "a-bot's-token", f"{upstream.url}/api/v10"
    place = Destination.objects.create(name="#desk", kind="discord_bot", channel="42")
    place.routes.create(actions=list(HELD))
    path = "/api/v10/channels/42/messages"
    upstream.answers[path] = (200, {"id": "7", "channel_id": "42"})
    upstream.answers[f"{path}/7"] = (500, {"said": "a-bot's-token"})
    make_message(connection)
    drain(destination_id=place.pk)
    send_again(Delivery.objects.get().pk, admin.actor(surface="web"))
    drain(destination_id=place.pk)
    assert [(method, asked) for method, asked, _ in upstream.calls] == [("POST", path), ("PATCH", f"{path}/7")]
    assert set(upstream.keys) == {"Bot a-bot's-token"}
    last = Delivery.objects.latest("pk")
    assert (last.state, last.response_status) == ("due", 500)
    assert "token" not in last.answer + last.request + last.last_error + caplog.text


def test_nothing_of_a_message_goes_before_what_came_earlier(connection):
    place = Destination.objects.create(name="program", kind="signed_webhook", url="https://program.example/hook")
    message, other = make_message(connection), make_message(connection)
    rows = [
        Delivery.objects.create(kind="event", destination=place, message=one, entry=number, action="message.held")
        for number, one in enumerate((message, message, other), start=1)
    ]
    Delivery.objects.filter(pk=rows[0].pk).update(next_attempt_at=Now() + timedelta(hours=1))
    assert list(Delivery.objects.next_at(place.pk).values_list("pk", flat=True)) == [rows[2].pk]
    assert deliver_card(delivery_id=rows[1].pk) == "not its turn"
    Delivery.objects.filter(pk=rows[0].pk).update(state="failed")
    assert list(Delivery.objects.next_at(place.pk).values_list("pk", flat=True)) == [rows[1].pk, rows[2].pk]


def test_place_that_waits_is_left_alone_and_the_others_are_not(discord, connection):
    waits, free = discord.place(1, actions=HELD), discord.place(2, actions=HELD)
    for _ in range(3):
        make_message(connection)
    hold_back(waits.pk, 60)
    assert with_something_due() == [free.pk]
    hold_back(waits.pk, 1)
    assert with_something_due() == [free.pk]
    assert not Delivery.objects.filter(destination=waits).overdue().exists()


def test_place_that_fails_again_and_again_rests_and_what_waits_there_is_not_tried_all_at_once(discord, connection):
    place = discord.place(1, actions=HELD)
    discord.next["1"] = [(502, {}, {})] * 9
    for _ in range(6):
        make_message(connection)
    assert drain(destination_id=place.pk) == "2 tried, then not due"
    place.refresh_from_db()
    assert (place.failures, len(discord.calls)) == (2, 2)
    Destination.objects.update(waits_until=None)
    discord.next["1"] = []
    drain(destination_id=place.pk)
    place.refresh_from_db()
    assert (place.failures, len(discord.standing(1))) == (0, 4)
