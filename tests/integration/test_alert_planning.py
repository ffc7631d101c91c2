"""Planning: an action creates cards, events and answers for the destinations with a
matching route only.
"""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.deliveries.planning import ANSWERED, PLANNED_ACTIONS, plan_waiting
from alerts.ledger_events import EVENTS, about_key
from alerts.models import Card, Delivery, Destination, Route
from approvals import tasks
from approvals.decisions.by_rule import announce_expiring
from audit.models import Entry
from audit.recording import record
from common.actors import worker
from mirror.models import Mailbox, Message
from tests import factories
from tests.factories import change_row, make_connection, rolled_back
from tests.integration.deciding import decide, in_thread, waiting_for_a_lock

pytestmark = pytest.mark.usefixtures("plans_at_once")

WEBHOOK = "https://discord.com/api/webhooks/1/token"
KINDS = ("discord_webhook", "discord_bot", "inngest", "signed_webhook")


def make_destination(kind="discord_webhook", actions=(), **fields):
    route = {
        name: fields.pop(name) for name in ("connection", "mailbox") if name in fields
    }
    made = Destination.objects.create(
        kind=kind, name=f"To {kind}", url=WEBHOOK, **fields
    )
    if actions:
        Route.objects.create(destination=made, actions=list(actions), **route)
    return made


def act(action, message=None, connection=None, **details):
    key = message.connection_id if message else connection.pk if connection else None
    about = {"connection": key, "message": message.public_id if message else None}
    return record(action, actor=worker("test"), details=details, **about)


def planned():
    """Every delivery: its kind, its action and its subject."""
    return [
        (
            one.kind,
            one.action,
            one.card.about
            if one.card and one.card.about
            else one.message and one.message.pk,
        )
        for one in Delivery.objects.order_by("pk")
    ]


def delete_planned():
    Delivery.objects.all().delete()
    Card.objects.all().delete()


def test_each_event_plans_what_a_route_asks_for_and_nothing_else(message):
    connection = message.connection
    other = make_connection(slug="other")
    asked = {make_destination(kind, ["asked"]) for kind in KINDS}
    # Of a flood every channel is told that is told of held messages.
    of_floods = {make_destination("discord_webhook", ["others"])}
    make_destination("inngest", ["others"])
    make_destination("discord_bot")
    make_destination("signed_webhook", ["asked"], switched_off_at=Now())
    make_destination("discord_webhook", ["asked"], connection=other)
    asking = list(Route.objects.filter(actions=["asked"]).values_list("pk", flat=True))
    for event in EVENTS:
        Route.objects.filter(pk__in=asking).update(actions=list(event.actions))
        Route.objects.exclude(pk__in=asking).update(
            actions=sorted(PLANNED_ACTIONS - set(event.actions))
        )
        # A refusal is about a message that the desk does not have.
        is_of_message = event.name.startswith(("email.", "decision."))
        about = message if is_of_message and event.name != "email.refused" else None
        for action in event.actions:
            delete_planned()
            entry = act(action, about, connection)
            made = Delivery.objects.select_related("destination", "card")
            told = asked | (of_floods if action == "brake.opened" else set())
            assert {one.destination for one in made} == told, action
            assert {one.message_id for one in made} == {about and about.pk}
            kinds = {
                (one.kind, channel_of(one.destination.kind).posts_cards) for one in made
            }
            assert kinds == {("card", True), ("event", False)}, action
            on_cards = {one.card.about for one in made if one.card}
            assert on_cards == {"" if about else about_key(entry)}


def test_mailbox_route_gets_its_messages_its_refusals_and_its_connection(message):
    connection = message.connection
    mine = message.mailbox
    other = Mailbox.objects.create(
        connection=connection, upstream_id="mb2", address="other@yourteam.example"
    )
    acts = ["message.sent", "message.refused_at_gate", "connection.failing"]
    by_mine, by_other = (
        make_destination("inngest", acts, mailbox=one) for one in (mine, other)
    )
    act("message.sent", message)
    act("message.refused_at_gate", connection=connection, mailbox=mine.address)
    act("message.refused_at_gate", connection=connection, mailbox=other.address)
    act("connection.failing", connection=connection)
    act("connection.failing", connection=make_connection(slug="elsewhere"))
    assert [one.action for one in by_mine.deliveries.order_by("pk")] == acts
    assert [one.action for one in by_other.deliveries.order_by("pk")] == acts[1:]


@pytest.mark.slow
def test_only_the_channel_that_an_admin_mapped_is_answered(message):
    answering = make_destination("discord_bot", channel="4711")
    make_destination("inngest", answers_channel="another")
    number = "118000000000000555"
    for mapped, trigger, answers in (
        ("outreach", {"discord_channel": "#outreach"}, True),
        (number, {"discord_channel": "x", "discord_channel_id": number}, True),
        # The channel that it posts in.
        ("4711", {"discord_channel": "4711"}, True),
        ("outreach", {"discord_channel": "sales"}, False),
        ("", {"discord_channel": ""}, False),
    ):
        delete_planned()
        change_row(answering, answers_channel=mapped)
        Message.objects.update(trigger=trigger)
        act(ANSWERED[0], message)
        assert len(planned()) == answers, (mapped, trigger)
    change_row(answering, answers_channel="outreach")
    Message.objects.update(trigger={"discord_channel": "outreach"})
    delete_planned()
    for action in ("message.sent", "decision.recorded"):
        act(action, message)
    assert planned() == []


def test_error_in_planning_does_not_undo_the_action_and_the_sweep_plans_each_kind(
    message, monkeypatch
):
    connection = message.connection
    acts = ["message.approved", "message.refused_at_gate", "connection.failing"]
    Message.objects.update(trigger={"discord_channel": "4711"})
    make_destination("discord_bot", acts, answers_channel="4711", channel="4711")
    make_destination("signed_webhook", acts)
    box = Mailbox.objects.create(
        connection=connection, upstream_id="mb9", address="m@x.example"
    )
    make_destination("inngest", acts, mailbox=box)
    with monkeypatch.context() as broken:
        broken.setattr("alerts.deliveries.planning.plan", None)
        act("message.approved", message)
        refused = act(
            "message.refused_at_gate", connection=connection, mailbox="m@x.example"
        )
        act("connection.failing", connection=connection)
    # A program gets no events from before it was added.
    change_row(make_destination("inngest", acts), told_since=Now() + timedelta(hours=1))
    assert planned() == []
    assert plan_waiting() == 3
    assert plan_waiting() == 0
    found = planned()
    assert len(found) == 8
    assert {about for kind, _, about in found if kind == "card"} == {
        message.pk, f"refusal/{refused.pk}", f"connection/{connection.pk}",
    }  # fmt: skip


@pytest.mark.slow
def test_expiring_message_is_announced_once_unless_it_is_decided(message, reviewer):
    entries = Entry.objects.filter(action="message.expiring", message=message.public_id)
    for minutes, of, expected in ((59, 24, 1), (61, 24, 0), (7, 1, 0), (-1, 1, 0)):
        left = timedelta(minutes=minutes)
        with rolled_back():
            Message.objects.update(
                expires_at=Now() + left, held_at=Now() + left - timedelta(hours=of)
            )
            announce_expiring(), announce_expiring()
            assert entries.count() == expected, minutes
    # The sweep announces the one that is not decided.
    make_destination(actions=["message.expiring"])
    decided = factories.make_message(message.connection)
    Message.objects.update(
        expires_at=Now() + timedelta(minutes=1), held_at=Now() - timedelta(minutes=59)
    )
    decide(decided, reviewer)
    tasks.sweep()
    assert [(action, about) for _, action, about in planned()] == [
        ("message.expiring", message.pk)
    ]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_actions_at_the_same_time_make_one_card_and_two_events(connection):
    make_destination(actions=["connection.failing", "connection.paused"])
    make_destination("inngest", ["connection.failing", "connection.paused"])

    @transaction.atomic
    def at_the_same_moment():
        return act("connection.paused", connection=connection).action

    with transaction.atomic():
        act("connection.failing", connection=connection)
        plan_waiting()
        thread, results = in_thread(at_the_same_moment)
        waiting_for_a_lock(database)
    thread.join(60)
    assert results == ["connection.paused"]
    assert Card.objects.count() == 1
    assert sorted(kind for kind, _, _ in planned()) == ["card", "event", "event"]
