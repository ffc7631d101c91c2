"""Discord limits, refuses, is gone, loses responses or is flooded: nothing is lost or
posted too often.
"""

import json
import re
from datetime import timedelta

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.db.models import F
from django.db.models.functions import Now

from alerts.deliveries.drain import drain
from alerts.models import Card, Delivery, Destination
from audit.models import Entry
from tests.alerting import deliver, make_message, work_to_the_end
from tests.factories import event_body, post_confirmed

pytestmark = pytest.mark.usefixtures("plans_at_once")

HELD = ("message.held",)


@pytest.fixture
def _small_bursts(monkeypatch):
    """Treat more than two waiting cards as a burst."""
    monkeypatch.setattr("alerts.deliveries.deliver.MAX_WAITING", 2)


def asked_to_wait(seconds, **headers):
    is_global = "X-RateLimit-Global" in headers
    return (
        429,
        {"Retry-After": "1", **headers},
        {"retry_after": seconds, "global": is_global},
    )


def reject(client, message):
    body = event_body("oversight.rejected", email_id=message.upstream_id, reason="no")
    assert post_confirmed(client, message.connection, body).status_code == 200


def seconds_left(destination):
    """How long a destination still waits."""
    [left] = Destination.objects.filter(pk=destination.pk).values_list(
        F("waits_until") - Now(), flat=True
    )
    return left.total_seconds()


def end_waits():
    """End every wait."""
    Destination.objects.update(waits_until=Now())
    Delivery.objects.update(next_attempt_at=Now())


@pytest.fixture
def destination(discord):
    """The first channel, which is told of held messages."""
    return discord.destination(1, actions=HELD)


@pytest.mark.slow
def test_wait_that_discord_asks_for_is_kept_and_the_order_too(
    connection, discord, destination
):
    other = discord.destination(2, actions=HELD)
    discord.next["1"] = [
        asked_to_wait(600),
        asked_to_wait(600, **{"X-RateLimit-Global": "true"}),
    ]
    make_message(connection, subject="First")
    assert drain(destination_id=destination.pk) == "0 tried, then asked to wait"
    make_message(connection, subject="Second")
    assert drain(destination_id=destination.pk) == "0 tried, then not due"
    assert seconds_left(destination) == pytest.approx(600, abs=100)
    assert drain(destination_id=other.pk) == "2 tried, then nothing left"

    # The next response is a global rate limit.
    make_message(connection, subject="Third")
    end_waits()
    drain(destination_id=destination.pk)
    assert drain(destination_id=other.pk) == "0 tried, then not due"
    end_waits()
    work_to_the_end()
    assert [call.status for call in discord.of(1)] == [429, 429, 200, 200, 200]
    for number in (1, 2):
        sent = [call.title for call in discord.of(number, 200)]
        assert sent == ["First", "Second", "Third"]
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ((429, {"Retry-After": "600"}, b"error code: 1015"), 600),
        ((429, {}, {"code": 0, "message": "You are being blocked."}), 30),
    ],
)
def test_block_of_this_server_stops_all_channels(
    connection, discord, destination, answer, seconds
):
    other = discord.destination(2, actions=HELD)
    discord.next["1"] = [answer]
    make_message(connection)
    assert drain(destination_id=destination.pk) == "0 tried, then asked to wait"
    assert drain(destination_id=other.pk) == "0 tried, then not due"
    assert seconds_left(other) == pytest.approx(seconds, rel=0.5)


def test_destination_pauses_when_a_limit_is_used_up(
    connection, discord, destination, monkeypatch
):
    counts = {"process": LocMemCache("discord", {})}
    monkeypatch.setattr("alerts.channels.discord.channel.caches", counts)
    monkeypatch.setattr("alerts.channels.discord.channel.REQUESTS", 3)
    used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "600"}
    discord.next["1"] = [(200, used_up, {"id": "1"})]
    for _ in range(5):
        make_message(connection)
    # Discord's header, the third request in a minute, and the end of that minute.
    for tried, seconds in ((1, 600), (2, 60)):
        assert drain(destination_id=destination.pk) == f"{tried} tried, then not due"
        assert seconds_left(destination) == pytest.approx(seconds, rel=0.5)
        end_waits()
    monkeypatch.setattr("alerts.channels.discord.channel.SECONDS", 0.0)
    assert drain(destination_id=destination.pk) == "2 tried, then nothing left"
    assert len(discord.calls) == 5


@pytest.mark.slow
def test_destination_that_is_gone_is_called_once_and_delays_no_other(
    connection, discord
):
    gone = {
        status: discord.destination(status, actions=HELD)
        for status in (400, 401, 403, 404)
    }
    for status in gone:
        # A forum takes no post without a thread.
        code = 220001 if status == 400 else 10015
        discord.next[str(status)] = [(status, {}, {"code": code})]
    discord.destination(2, actions=HELD)
    for _ in range(2):
        make_message(connection)
    work_to_the_end()
    for status, destination in gone.items():
        destination.refresh_from_db()
        assert f"Discord answered {status}" in destination.switched_off_because
        assert len(discord.of(status)) == 1
    assert len(discord.of(2, 200)) == 2
    assert Entry.objects.of_action("destination.switched_off").count() == 4


def die_after_the_post(monkeypatch, destination):
    """Kill the worker between a post and its record, and end its lease."""

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("alerts.deliveries.deliver._delivered", kill)
        with pytest.raises(KeyboardInterrupt):
            drain(destination_id=destination.pk)
    Delivery.objects.filter(state="sending").update(
        lease_until=Now() - timedelta(seconds=1)
    )


@pytest.mark.usefixtures("_small_bursts")
@pytest.mark.parametrize(
    "is_digest", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_post_whose_answer_is_lost_or_whose_worker_dies_appears_twice_and_is_marked(
    client, connection, discord, destination, monkeypatch, is_digest
):
    messages = [make_message(connection) for _ in range(3 if is_digest else 1)]
    if is_digest:
        die_after_the_post(monkeypatch, destination)
    else:
        discord.lost["1"] = 1
        drain(destination_id=destination.pk)
        end_waits()
    work_to_the_end()
    posts = discord.of(1, 200)
    assert [call.method for call in posts] == ["POST", "POST"]
    assert posts[0].alert == posts[1].alert
    assert re.search(r" · alert [1-9]", posts[0].alert)
    reject(client, messages[0])
    work_to_the_end()
    assert [call.method for call in discord.of(1, 200)] == ["POST", "POST", "PATCH"]
    word = "2 waiting" if is_digest else "Rejected"
    shown = [word in str(body["embeds"][0]) for body in discord.posts_in(1)]
    assert shown == [False, True]


@pytest.mark.slow
def test_refused_card_is_posted_in_a_shortened_form(connection, discord, destination):
    make_message(connection)
    discord.next["1"] = [(400, {}, {"code": 50035})]
    assert drain(destination_id=destination.pk) == "1 tried, then nothing left"
    refused, shortened = discord.calls
    assert (refused.status, shortened.status) == (400, 200)
    assert len(json.dumps(shortened.body)) < len(json.dumps(refused.body))
    assert shortened.body["allowed_mentions"] == {"parse": []}
    assert Delivery.objects.get().state == "delivered"


@pytest.mark.slow
@pytest.mark.usefixtures("_small_bursts")
def test_burst_becomes_one_digest_that_is_edited(
    client, connection, discord, destination
):
    # Its post may have been sent, so it stays a card of its own.
    discord.lost["1"] = 1
    before = make_message(connection, subject="Before the burst")
    drain(destination_id=destination.pk)
    burst = [
        make_message(connection, subject=f"Number {number}") for number in range(3)
    ]
    end_waits()
    work_to_the_end()
    assert [call.method for call in discord.calls] == ["POST", "POST", "POST"]
    digest = Card.objects.get(about__startswith="digest/")
    assert Card.objects.filter(digest=digest, post_id="").count() == 3
    [own] = Card.objects.exclude(post_id="").exclude(pk=digest.pk)
    assert own.message == before
    assert own.digest is None
    # Changes edit the digest; messages after the burst get their own cards.
    reject(client, burst[2])
    make_message(connection, subject="After the burst")
    work_to_the_end()
    assert sorted(call.method for call in discord.calls[3:]) == ["PATCH", "POST"]
    assert len(discord.posts_in(1)) == 4
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


@pytest.mark.parametrize(
    ("answers", "calls", "error"),
    [
        ([(400, {}, {"code": 50083})], ["POST"], ""),
        *[
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ([(400, {}, {"code": 30046})], ["POST"], ""),
                ([(400, {}, {"code": 160005})] * 2, ["POST"], "closed (code 160005)"),
                ([(403, {}, {"code": 40333})], [], "before Discord read"),
                ([(401, {}, b"<title>Sign in</title>")], [], "before Discord read"),
                ([(500, {}, b"[" * 50_000)], [], "Discord answered 500"),
            )
        ],
    ],
)  # fmt: skip
def test_what_speaks_of_a_card_or_of_us_neither_ends_the_channel_nor_loses_news(
    client, connection, discord, destination, answers, calls, error
):
    message = make_message(connection)
    drain(destination_id=destination.pk)
    discord.next["1"] = answers
    reject(client, message)
    drain(destination_id=destination.pk)
    assert [call.method for call in discord.calls] == ["POST", "PATCH", *calls]
    destination.refresh_from_db()
    assert destination.switched_off_at is None
    assert error in Delivery.objects.latest("pk").last_error
    end_waits()
    drain(destination_id=destination.pk)
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert "Rejected" in json.dumps(discord.calls[-1].body)


def test_failed_post_is_logged_without_the_address_and_an_internal_error_blocks_nothing(
    connection, discord, destination, monkeypatch
):
    discord.next["1"] = [(500, {}, f"broken at {destination.url}")]
    make_message(connection)
    drain(destination_id=destination.pk)
    delivery = Delivery.objects.get()
    assert json.loads(delivery.request) == discord.calls[0].body
    assert "broken at" in delivery.answer
    assert "/token" not in delivery.answer + delivery.request

    end_waits()
    with monkeypatch.context() as broken:
        broken.setattr("alerts.deliveries.deliver.card_content", None)
        assert deliver(delivery_id=delivery.pk) == "postponed"
    assert Delivery.objects.get(pk=delivery.pk).state == "due"
