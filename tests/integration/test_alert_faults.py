"""Discord that limits, refuses, is gone, loses answers or is flooded: nothing is lost, nothing is told too often."""

import json
import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from alerts.models import Card, Delivery, Destination, Digest
from alerts.sending import rates
from alerts.sending.deliver import deliver_card
from alerts.sending.drain import drain
from audit.models import Entry
from audit.recording import record
from common.nudge import quick_redis
from people.actors import worker
from tests.alerting import discord as discord_standin
from tests.alerting import work_until
from tests.factories import event_body, make_message, post_event

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


def asked_to_wait(seconds, **headers):
    is_global = "X-RateLimit-Global" in headers
    return 429, {"Retry-After": "1", **headers}, {"retry_after": seconds, "global": is_global}


def reject(client, message):
    body = event_body("oversight.rejected", email_id=message.upstream_id, reason="no")
    assert post_event(client, message.connection, body).status_code == 200


def delivered(number):
    return lambda: Delivery.objects.filter(state="delivered").count() == number


@pytest.mark.proves("case 14")
@pytest.mark.fault(
    38,
    injected="Discord answers 429 to a card, and names the seconds, in the middle of others.",
    held="Nothing more goes there until they are over; then the same card goes first, and the others in their order.",
)
def test_wait_that_discord_asks_for_is_kept_and_the_order_too(connection, discord):
    place = discord.place(1, actions=HELD)
    discord.next["1"] = [asked_to_wait(0.7)]
    for subject in ("First", "Second", "Third"):
        make_message(connection, subject=subject)
    assert drain(destination_id=place.pk) == "0 tried, then asked to wait"
    work_until(delivered(3), "all three told")
    assert [(call.title, call.status) for call in discord.calls] == [
        ("First", 429), ("First", 200), ("Second", 200), ("Third", 200),
    ]  # fmt: skip
    assert discord.calls[1].at - discord.calls[0].at >= 0.7
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}
    assert [(bool(card.discord_message_id), card.digest_id) for card in Card.objects.all()] == [(True, None)] * 3


@pytest.mark.fault(
    38,
    injected="A 429 says that it holds for all of Discord.",
    held="No channel is posted to until it is over.",
)
def test_wait_for_all_of_discord_holds_in_every_channel(connection, discord):
    first, second = discord.place(1, actions=HELD), discord.place(2, actions=HELD)
    discord.next["1"] = [asked_to_wait(0.7, **{"X-RateLimit-Global": "true"})]
    make_message(connection)
    drain(destination_id=first.pk)
    assert drain(destination_id=second.pk) == "0 tried, then not due"
    work_until(delivered(2), "both told")
    assert all(call.at - discord.calls[0].at >= 0.7 for call in discord.calls[1:])
    assert len(discord.calls) == 3


@pytest.mark.fault(
    38,
    injected="Cards come faster than a bucket that headers tell of, and than a limit that nothing tells.",
    held="All are posted in order, as fast as both allow, and no answer is a 429.",
)
def test_limits_are_learnt_and_kept(connection, discord, monkeypatch):
    discord.told, discord.hidden = (3, 0.5), (6, 1.0)
    monkeypatch.setattr(rates, "CHANNEL", 6)
    monkeypatch.setattr(rates, "CHANNEL_SECONDS", 1.5)
    discord.place(1, actions=HELD)
    for number in range(8):
        make_message(connection, subject=f"Number {number}")
    work_until(delivered(8), "all told")
    assert [call.status for call in discord.calls] == [200] * 8
    assert [call.title for call in discord.calls] == [f"Number {number}" for number in range(8)]


@pytest.mark.fault(
    38,
    injected="Answer after answer is one that Discord counts before it bans an address: here 429.",
    held="Far below Discord's number nothing goes there any more, by whatever webhook, until the ten minutes are over.",
)
def test_answers_that_lead_to_a_ban_stop_everything_early(connection, discord, monkeypatch):
    monkeypatch.setattr(rates, "INVALID", 3)
    monkeypatch.setattr(rates, "INVALID_SECONDS", 2.0)
    discord.place(1, actions=HELD)
    discord.next["1"] = [asked_to_wait(0.1) for _ in range(3)]
    make_message(connection)
    work_until(lambda: len(discord.calls) == 3, "three answers of the kind")
    discord.place(2, actions=("message.rejected",))
    work_until(delivered(1), "told after all")
    assert discord.calls[3].at - discord.calls[0].at >= 1.9


def test_limit_of_others_in_the_channel_does_not_count_towards_a_ban(connection, discord, monkeypatch):
    monkeypatch.setattr(rates, "INVALID", 1)
    discord.place(1, actions=HELD)
    discord.next["1"] = [asked_to_wait(0.1, **{"X-RateLimit-Scope": "shared"})]
    make_message(connection)
    work_until(delivered(1), "told")


def test_clock_of_redis_that_is_set_back_makes_nobody_wait_for_it(connection, discord):
    scope = rates.Scope("somewhere", "1", "POST")
    later = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "9", "X-RateLimit-Bucket": "b"}
    rates.learn(scope, status=200, headers=later)
    assert 8 < rates.take(scope) <= 9
    # As an hour before: by its clock then, all of this is still to come.
    hour, store = 3_600_000, quick_redis()
    bucket = "alerts:somewhere:bucket:b:1"
    for name in ("until", "since"):
        store.hincrby(bucket, name, hour)
    seconds, _ = store.time()
    for number in range(rates.CHANNEL):
        store.zadd("alerts:somewhere:posts:1", {str(number): seconds * 1000 + hour})
    assert rates.take(scope) == 0


def test_without_redis_a_place_rests_after_each_post(connection, discord, monkeypatch):
    place = discord.place(1, actions=HELD)
    monkeypatch.setattr("alerts.sending.rates.is_resting", lambda: True)
    make_message(connection)
    make_message(connection)
    assert drain(destination_id=place.pk) == "1 tried, then not due"
    place.refresh_from_db()
    now = Destination.objects.values_list(Now(), flat=True).first()
    assert timedelta(seconds=1) < place.waits_until - now <= timedelta(seconds=2.5)


@pytest.mark.fault(
    39,
    injected="A webhook was deleted (404), its token is refused (401), or it may not post (403).",
    held="It is asked once and switched off; admins see it in the app and the ledger; other channels have their card.",
)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_destination_that_is_gone_is_asked_once_and_costs_the_others_nothing(connection, discord, status):
    place = discord.place(1, actions=HELD)
    discord.place(2, actions=HELD)
    discord.next["1"] = [(status, {}, {"code": 10015})]
    for _ in range(3):
        make_message(connection)
    work_until(lambda: not Delivery.objects.unfinished().exists(), "everything told or given up")
    place.refresh_from_db()
    assert f"Discord answered {status}" in place.switched_off_because
    assert (len(discord.of(1)), len(discord.of(2, 200))) == (1, 3)
    assert Entry.objects.filter(action="destination.switched_off").count() == 1


@pytest.mark.fault(
    40,
    injected="Discord takes a card, and its answer is lost.",
    held="The card is posted once more, and both bear the number of one alert; what follows edits the second.",
)
def test_post_whose_answer_is_lost_stands_twice_at_most_and_is_marked(client, connection, discord):
    place = discord.place(1, actions=HELD)
    discord.lost["1"] = 1
    message = make_message(connection)
    assert drain(destination_id=place.pk) == "1 tried, then nothing left"
    Delivery.objects.update(next_attempt_at=Now())
    work_until(delivered(1), "told")
    post_event(client, connection, event_body("oversight.rejected", email_id=message.upstream_id, reason="no"))
    work_until(delivered(2), "turned")
    assert [call.method for call in discord.calls] == ["POST", "POST", "PATCH"]
    assert discord.calls[0].alert == discord.calls[1].alert != ""
    assert len(discord.standing(1)) == 2


def dies(monkeypatch, place):
    """Let the worker be killed between a post and its record, and its lease end."""

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("alerts.sending.deliver._done", kill)
        with pytest.raises(KeyboardInterrupt):
            drain(destination_id=place.pk)
    Delivery.objects.filter(state="sending").update(lease_until=Now() - timedelta(seconds=1))


@pytest.mark.fault(
    40,
    injected="A worker dies after Discord took a digest, an answer or the card of a connection, before it notes that.",
    held="It is posted once more, both bear the number of one alert, and what follows edits the second.",
)
@pytest.mark.parametrize("kind", ["card", "digest", "answer", "notice", "shortened"])
def test_post_whose_worker_dies_stands_twice_at_most_and_is_marked(client, connection, discord, monkeypatch, kind):
    place = discord.place(1, actions=() if kind == "answer" else (*HELD, "connection.failing"))
    if kind == "notice":
        record("connection.failing", actor=worker("test"), connection=connection.pk)
    else:
        messages = [make_message(connection) for _ in range(21 if kind == "digest" else 1)]
    if kind == "answer":
        Destination.objects.update(answers_channel="outreach")
        reject(client, messages[0])
    if kind == "shortened":
        discord.next["1"] = [(400, {}, {"code": 50035})]
    dies(monkeypatch, place)
    work_until(lambda: not Delivery.objects.unfinished().exists(), "everything told")
    posts = discord.of(1, 200)
    assert [call.method for call in posts] == ["POST", "POST"]
    assert posts[0].alert == posts[1].alert
    assert re.search(r" · alert [1-9]", posts[0].alert)
    if kind in ("digest", "shortened"):
        reject(client, messages[0])
        work_until(lambda: not Delivery.objects.unfinished().exists(), "everything told")
        assert [call.method for call in discord.of(1, 200)] == ["POST", "POST", "PATCH"]
        stand = [body["embeds"][0] for body in discord.standing(1)]
        assert "Rejected" in str(stand[1])
        assert "Rejected" not in str(stand[0])


@pytest.mark.fault(
    41,
    injected="Discord refuses a card as it is (400).",
    held="A shortened form of it is posted at once; the next change is told in full again.",
)
def test_card_that_is_refused_is_told_in_a_shortened_form(client, connection, discord):
    place = discord.place(1, actions=HELD)
    message = make_message(connection)
    discord.next["1"] = [(400, {}, {"code": 50035})]
    assert drain(destination_id=place.pk) == "1 tried, then nothing left"
    refused, shortened = discord.calls
    assert (refused.status, shortened.status) == (400, 200)
    assert len(json.dumps(shortened.body)) < len(json.dumps(refused.body))
    assert shortened.body["allowed_mentions"] == {"parse": []}
    assert Delivery.objects.get().state == "delivered"
    post_event(client, connection, event_body("oversight.rejected", email_id=message.upstream_id, reason="no"))
    drain(destination_id=place.pk)
    assert discord.calls[2].body["embeds"][0].keys() == refused.body["embeds"][0].keys()


@pytest.mark.fault(
    42,
    injected="Many more messages are held at once than a channel takes cards.",
    held="One post stands for all of them and is edited in place; each is on its own post or on that one, never both.",
)
def test_burst_becomes_one_digest_that_is_edited_in_place(client, connection, discord):
    place = discord.place(1, actions=HELD)
    make_message(connection, subject="Before the burst")
    drain(destination_id=place.pk)
    burst = [make_message(connection, subject=f"Number {number}") for number in range(25)]
    work_until(delivered(27), "everything told")
    assert [call.method for call in discord.calls] == ["POST", "POST"]
    digest = Digest.objects.get()
    assert Card.objects.filter(digest=digest, discord_message_id="").count() == 25
    assert Card.objects.filter(digest=None).exclude(discord_message_id="").count() == 1
    # What changes on it, edits it; what comes when it is quiet again has a card of its own.
    body = event_body("oversight.rejected", email_id=burst[3].upstream_id, reason="no")
    post_event(client, connection, body)
    make_message(connection, subject="After the burst")
    work_until(lambda: not Delivery.objects.unfinished().exists(), "everything told")
    assert sorted(call.method for call in discord.calls[2:]) == ["PATCH", "POST"]
    assert len(discord.standing(1)) == 3
    assert Delivery.objects.exclude(state="delivered").count() == 0


def test_card_whose_post_may_have_left_stays_on_its_own_in_a_burst(connection, discord):
    place = discord.place(1, actions=HELD)
    discord.lost["1"] = 1
    message = make_message(connection)
    drain(destination_id=place.pk)
    for _ in range(25):
        make_message(connection)
    Delivery.objects.update(next_attempt_at=Now())
    work_until(lambda: not Delivery.objects.unfinished().exists(), "everything told")
    assert Card.objects.get(message=message).digest_id is None
    assert Card.objects.exclude(digest=None).count() == 25


def test_digest_that_somebody_deletes_is_not_posted_again(client, connection, discord):
    place = discord.place(1, actions=HELD)
    burst = [make_message(connection) for _ in range(21)]
    work_until(lambda: not Delivery.objects.unfinished().exists(), "everything told")
    discord.posts.clear()
    for message in burst[:2]:
        post_event(client, connection, event_body("oversight.rejected", email_id=message.upstream_id, reason="no"))
        drain(destination_id=place.pk)
    assert [call.method for call in discord.calls] == ["POST", "PATCH"]
    assert Digest.objects.get().removed
    assert not Delivery.objects.unfinished().exists()


@pytest.mark.proves("case 15")
def test_card_that_somebody_deleted_is_noted_and_not_posted_again(client, connection, discord):
    place = discord.place(1, actions=HELD)
    message = make_message(connection)
    drain(destination_id=place.pk)
    discord.posts.clear()
    post_event(client, connection, event_body("oversight.rejected", email_id=message.upstream_id, reason="no"))
    drain(destination_id=place.pk)
    post_event(client, connection, event_body("oversight.rejected", email_id=message.upstream_id, reason="no"))
    drain(destination_id=place.pk)
    assert [(call.method, call.status) for call in discord.calls] == [("POST", 200), ("PATCH", 404)]
    assert Card.objects.get().removed
    assert Delivery.objects.get(state="failed").last_error == "Somebody deleted the card in Discord."
    place.refresh_from_db()
    assert place.switched_off_at is None


def test_connection_is_told_of_again_where_somebody_tidied_its_card_away(connection, discord):
    place = discord.place(1, actions=("connection.failing",))
    for action in ("connection.failing", "connection.recovered"):
        record(action, actor=worker("test"), connection=connection.pk)
        drain(destination_id=place.pk)
        discord.posts.clear()
    assert [(call.method, call.status) for call in discord.calls] == [("POST", 200), ("PATCH", 404), ("POST", 200)]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert not Card.objects.get().removed


def test_log_keeps_what_went_out_and_what_came_back_without_the_address(connection, discord):
    place = discord.place(1, actions=HELD)
    discord.next["1"] = [(500, {"Via": "1.1 somewhere"}, f"broken at {place.url}")]
    make_message(connection)
    drain(destination_id=place.pk)
    kept = Delivery.objects.get()
    assert json.loads(kept.request) == discord.calls[0].body
    assert kept.answer.startswith("Via: 1.1 somewhere")
    assert "broken at" in kept.answer
    assert "/token" not in kept.answer + kept.request


def test_mistake_of_ours_is_tried_again_and_blocks_nothing(connection, discord, monkeypatch):
    place = discord.place(1, actions=HELD)
    make_message(connection)

    def break_down(*_, **__):
        raise KeyError("a bug of ours")

    with monkeypatch.context() as broken:
        broken.setattr("alerts.sending.bodies.of_card", break_down)
        assert deliver_card(delivery_id=Delivery.objects.get().pk) == "postponed"
    make_message(connection)
    assert drain(destination_id=place.pk) == "1 tried, then nothing left"
    assert Delivery.objects.get(state="due").attempts == 1
