"""Deliveries: one worker per card, no action lost between two edits, responses not
trusted; sent by the bot, in order; and erased with their message.
"""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from alerts.cards.markup import Markup
from alerts.cards.notice import digest_card
from alerts.channels.requests import DestinationGone
from alerts.deliveries import deliver as delivering
from alerts.deliveries.deliver import MAX_ATTEMPTS, claim
from alerts.deliveries.drain import drain
from alerts.deliveries.planning import CARD_ACTIONS, plan_waiting
from alerts.models import Card, Delivery, Destination, Route
from audit.models import Entry, Seal
from audit.recording import record
from audit.sealing.sealer import seal_all
from common.actors import worker
from mirror.models import Message
from tests import factories
from tests.alerting import deliver, make_message, work_to_the_end
from tests.factories import change_row, event_body, post_confirmed, rolled_back
from tests.integration.deciding import in_thread, waiting_for_a_lock
from tests.integration.test_retention import erase

pytestmark = pytest.mark.usefixtures("plans_at_once")

HELD = ("message.held",)


@pytest.fixture
def destination(discord):
    """A destination with a route for every action that creates or updates a card."""
    return discord.destination(1, actions=CARD_ACTIONS)


def deliver_due():
    return deliver(delivery_id=Delivery.objects.get(state="due").pk)


def cards(discord):
    return [(call.method, call.body["embeds"][0]) for call in discord.calls]


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


def test_invalid_id_in_a_response_is_not_used_in_an_address(
    connection, discord, destination
):
    make_message(connection)
    for one in ("../../../users/1", {"a": 1}):
        discord.next["1"] = [(200, {}, {"id": one})]
        assert deliver_due() == "delivered"
        assert Card.objects.get().post_id == "", one
        Delivery.objects.update(state="due", next_attempt_at=Now())


def test_bot_posts_and_edits_with_its_token_which_is_never_logged(
    upstream, discord, connection, settings, caplog
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
    Delivery.objects.create(destination=destination, card=Card.objects.get())
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
    assert Entry.objects.of_action("alert.delivered").count() == 1


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
    change_row(first, next_attempt_at=Now() + timedelta(hours=1))
    assert claimed_at(destination) == others
    change_row(others, state="delivered")
    assert deliver(delivery_id=second.pk) == "not due"
    assert claimed_at(destination) is None
    change_row(first, state="failed")
    assert claimed_at(destination) == second


# The command seals first, and only committed entries can be sealed.
@pytest.mark.django_db(transaction=True)
def test_erasing_a_message_erases_its_stored_deliveries_and_marks_them(
    discord, connection, admin, signed_in
):
    destination = discord.destination(1, actions=HELD, privacy="full")
    message = factories.make_message(connection)
    other = factories.make_message(connection)
    drain(destination_id=destination.pk)
    digest = Card.objects.create(destination=destination, about="digest/1", post_id="7")
    Card.objects.filter(message=message).update(digest=digest, post_id="")
    # The digest of before the destination's address changed.
    earlier = Card.objects.create(
        destination=destination, about="digest/0", removed=True
    )
    for card in (digest, earlier):
        of_digest = {"card": card, "request": "Your refund"}
        Delivery.objects.create(destination=destination, state="delivered", **of_digest)
    program = Destination.objects.create(
        kind="inngest", name="Functions", url="https://inn.gs/e/key"
    )
    event = {
        "kind": "event",
        "destination": program,
        "message": message,
        "action": "message.sent",
    }
    Delivery.objects.create(
        **event, entry=1, state="delivered", request='{"to": "dana@"}', answer="dana@"
    )
    waits = Delivery.objects.create(**event, entry=2, request='{"to": "dana@"}')
    Message.objects.update(state="rejected")

    assert "what 5 deliveries of alerts told" in erase(message)
    remaining = Delivery.objects.exclude(request="", answer="")
    assert [one.message for one in remaining] == [other]
    waits.refresh_from_db()
    assert waits.state == "failed"
    # No later edit of the digest tells of it again.
    assert "0 messages" in digest_card(digest, destination, Markup()).title
    assert signed_in(admin).get("/alerts/log/").text.count("Content erased.") == 5


def test_post_at_an_address_that_changed_meanwhile_is_not_edited_at_the_present_one(
    discord, connection, monkeypatch
):
    destination = discord.destination(1, actions=HELD)
    factories.make_message(connection)
    send = delivering._send

    def send_while_it_moves(delivery):
        posted = send(delivery)
        Destination.objects.update(url=f"{discord.url}/api/webhooks/2/token")
        return posted

    monkeypatch.setattr(delivering, "_send", send_while_it_moves)
    drain(destination_id=destination.pk)
    assert discord.posts_in(1)
    assert Card.objects.get().post_id == ""

    def fail_while_it_moves(delivery):
        Destination.objects.update(secret="another")
        raise DestinationGone("Somebody deleted the webhook.")

    monkeypatch.setattr(delivering, "_send", fail_while_it_moves)
    factories.make_message(connection)
    drain(destination_id=destination.pk)
    assert Destination.objects.get().switched_off_at is None


def test_channel_where_it_began_gets_one_card_that_changes_and_has_the_reason(
    client, connection, discord
):
    discord.destination(1, answers_channel="outreach")
    message = make_message(connection)
    marked = "Fine. (Ana via Countersign, reference 7K2M)"
    for event, reason in (
        ("oversight.approved", marked),
        # One that bounces finally is reported as failed too.
        ("message.failed", marked),
        ("message.bounced", marked),
    ):
        body = event_body(event, email_id=message.upstream_id, reason=reason)
        post_confirmed(client, connection, body)
        work_to_the_end()
    [post] = discord.posts_in(1)
    assert post["embeds"][0]["description"].startswith("**Bounced.**")
    # The reason of the approval is not that of the bounce.
    assert "Fine" not in str(post)
    assert [call.method for call in discord.of(1)] == ["POST", "PATCH", "PATCH"]
    first = str(discord.of(1)[0].body["embeds"][0]["fields"])
    assert "Fine." in first
    assert "7K2M" not in first


@pytest.mark.django_db(transaction=True)
def test_checked_ledger_is_posted_with_its_newest_checkpoint(
    connection, discord, destination
):
    Route.objects.update(actions=["ledger.checked"])
    make_message(connection)
    seal_all()
    for _ in range(2):
        with transaction.atomic():
            record("ledger.checked", actor=worker("checker"))
        plan_waiting()
        assert deliver_due() == "delivered"
    # Each is a post of its own.
    _, second = cards(discord)
    line = second[1]["description"].split("```")[1].strip()
    assert line == Seal.objects.order_by("-number").first().as_line().decode().strip()
    assert Entry.objects.of_action("alert.delivered").count() == 2


@pytest.mark.slow
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
    assert results == ["not due"]
    assert discord.calls == []
