"""What an act asks for: cards, events and answers, at the places whose routes ask for it and nowhere else."""

import threading
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.db.models.functions import Now

from alerts.events import EVENTS, about_of
from alerts.missed import plan_missed
from alerts.models import Card, Delivery, Destination, Route
from alerts.places.destinations import Settings, change_destination, switch_off, switch_on
from alerts.places.routes import Wanted, add_route
from alerts.planning import ANSWERED, CARD_ACTIONS, PLANNED_ACTIONS, Planned
from approvals import tasks
from approvals.deciding.expire import tell_of_expiring
from approvals.models import Connection, Mailbox, Message
from approvals.sync.health import tell_of_staleness
from audit.actions import ACTIONS
from audit.models import Entry
from audit.recording import record
from people.actors import worker
from tests.factories import event_body, make_connection, make_message, post_event
from tests.integration.deciding import decide

pytestmark = pytest.mark.django_db

WEBHOOK = "https://discord.com/api/webhooks/1/token"


@pytest.fixture
def message(connection):
    return make_message(connection)


def place(kind="discord_webhook", actions=(), **fields):
    route = {name: fields.pop(name) for name in ("connection", "mailbox") if name in fields}
    made = Destination.objects.create(kind=kind, name=f"To {kind}", url=WEBHOOK, **fields)
    if actions:
        Route.objects.create(destination=made, actions=list(actions), **route)
    return made


def act(action, message=None, connection=None, **details):
    key = message.connection_id if message else connection.pk if connection else None
    about = {"connection": key, "message": message.public_id if message else None}
    return record(action, actor=worker("test"), details=details, **about)


def planned():
    """Every delivery: its kind, its act, and what it is about."""
    return [
        (one.kind, one.action, one.card.about if one.card and one.card.about else one.message and one.message.pk)
        for one in Delivery.objects.order_by("pk")
    ]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
@pytest.mark.parametrize("kind", ["discord_webhook", "discord_bot", "inngest", "signed_webhook"])
def test_each_event_plans_what_a_route_asks_for_and_nothing_else(message, event, kind):
    connection = message.connection
    asked = place(kind, event.actions)
    place(kind, set(PLANNED_ACTIONS) - set(event.actions))
    place(kind)
    place(kind, event.actions, switched_off_at=Now())
    place(kind, event.actions, connection=make_connection(slug="other"))
    for action in event.actions:
        Delivery.objects.all().delete()
        Card.objects.all().delete()
        entry = act(action, message if event.about == "message" else None, connection)
        (made,) = Delivery.objects.all()
        assert (made.destination, made.kind) == (asked, "card" if asked.is_discord else "event")
        assert (made.entry, made.action, made.state) == (entry.pk, action, "due")
        assert made.message == (message if event.about == "message" else None)
        if asked.is_discord:
            assert made.card.about == about_of(action, entry=entry.pk, connection=connection.pk)


def test_every_act_that_is_planned_is_an_act_of_the_ledger_and_none_of_alerts():
    assert set(ACTIONS) >= PLANNED_ACTIONS
    assert not [action for action in PLANNED_ACTIONS if action.startswith(("alert.", "destination."))]


@pytest.mark.parametrize("action", [one for one in ACTIONS if one.startswith(("alert.", "destination."))])
def test_what_alerts_do_asks_for_nothing_whatever_a_route_says(message, action):
    place(actions=[action])
    place("inngest", [action])
    act(action, message)
    assert planned() == []


def test_card_of_a_connection_turns_when_it_recovers(connection):
    place(actions=["connection.failing"])
    act("connection.recovered", connection=connection)
    assert planned() == []
    act("connection.failing", connection=connection)
    Delivery.objects.update(state="delivered")
    act("connection.recovered", connection=connection)
    assert Card.objects.get().about == f"connection/{connection.pk}"
    assert [action for _, action, _ in planned()] == ["connection.failing", "connection.recovered"]
    act("connection.failing", connection=connection)
    assert Delivery.objects.filter(state="due").count() == 1, "what waits shows what is true by then"


def test_each_refusal_at_the_gate_has_a_card_of_its_own(connection):
    place(actions=["message.refused_at_gate"])
    entries = [act("message.refused_at_gate", connection=connection) for _ in range(2)]
    assert [about for _, _, about in planned()] == [f"refusal/{entry.pk}" for entry in entries]


def test_route_of_a_mailbox_is_told_of_its_mail_its_refusals_and_its_connection(message):
    connection, mine = message.connection, message.mailbox or Mailbox.objects.first()
    other = Mailbox.objects.create(connection=connection, upstream_id="mb2", address="other@yourteam.example")
    Message.objects.update(mailbox=mine)
    acts = ["message.sent", "message.refused_at_gate", "connection.failing"]
    by_mine, by_other = (place("inngest", acts, mailbox=one) for one in (mine, other))
    act("message.sent", message)
    act("message.refused_at_gate", connection=connection, mailbox=mine.address)
    act("message.refused_at_gate", connection=connection, mailbox=other.address)
    act("connection.failing", connection=connection)
    act("connection.failing", connection=make_connection(slug="elsewhere"))
    assert [one.action for one in by_mine.deliveries.order_by("pk")] == acts
    assert [one.action for one in by_other.deliveries.order_by("pk")] == acts[1:]


@pytest.mark.parametrize(
    ("mapped", "trigger", "answers"),
    [
        ("outreach", {"discord_channel": "outreach"}, True),
        ("outreach", {"discord_channel": "#outreach"}, True),
        ("#outreach", {"discord_channel": "outreach"}, True),
        ("118000000000000555", {"discord_channel": "118000000000000555"}, True),
        ("118000000000000555", {"discord_channel": "x", "discord_channel_id": "118000000000000555"}, True),
        ("outreach", {"discord_channel": "sales"}, False),
        ("outreach", {"discord_channel": ["outreach"]}, False),
        ("outreach", {}, False),
        ("", {"discord_channel": ""}, False),
        ("", {}, False),
    ],
)
def test_only_the_channel_that_an_admin_mapped_is_answered(message, mapped, trigger, answers):
    place(answers_channel=mapped)
    place("inngest", answers_channel="another")
    Message.objects.update(trigger=trigger)
    for action in CARD_ACTIONS:
        act(action, message)
    assert [(kind, action) for kind, action, _ in planned()] == (
        [("answer", action) for action in CARD_ACTIONS if action in ANSWERED] if answers else []
    )


def test_ids_ascend_in_the_order_of_acts_and_the_same_act_plans_once(message):
    place("inngest", ["message.approved", "message.sent", "message.delivered"])
    place(answers_channel="outreach")
    Message.objects.update(trigger={"discord_channel": "outreach"})
    entries = [act(action, message) for action in ("message.approved", "message.sent", "message.delivered")]
    before = planned()
    assert list(Delivery.objects.filter(kind="event").order_by("pk").values_list("entry", flat=True)) == [
        entry.pk for entry in entries
    ]
    with transaction.atomic():
        assert [Planned(entry).deliveries for entry in entries] == [[], [], []]
    assert planned() == before


@pytest.mark.django_db(transaction=True)
def test_two_acts_at_one_moment_make_one_card_and_an_event_each():
    connection = make_connection()
    place(actions=["connection.failing", "connection.stale"])
    place("inngest", ["connection.failing", "connection.stale"])
    begun, done = threading.Event(), []

    def other():
        try:
            with transaction.atomic():
                begun.set()
                done.append(act("connection.stale", connection=connection))
        finally:
            connections.close_all()

    thread = threading.Thread(target=other)
    with transaction.atomic():
        act("connection.failing", connection=connection)
        thread.start()
        begun.wait(10)
    thread.join(30)
    assert (len(done), Card.objects.count()) == (1, 1)
    events = Delivery.objects.filter(kind="event").values_list("action", flat=True)
    assert sorted(events) == ["connection.failing", "connection.stale"]
    assert Delivery.objects.filter(kind="card").count() == 1


def test_mistake_in_planning_costs_no_act_and_the_sweep_plans_each_kind(message, monkeypatch):
    connection = message.connection
    acts = ["message.approved", "message.refused_at_gate", "connection.failing"]
    Message.objects.update(trigger={"discord_channel": "outreach"})
    place(actions=acts, answers_channel="outreach")
    place("signed_webhook", acts)
    place(
        "inngest", acts, mailbox=Mailbox.objects.create(connection=connection, upstream_id="mb9", address="m@x.example")
    )

    def break_down(entry):
        raise RuntimeError("a bug of ours")

    with monkeypatch.context() as broken:
        broken.setattr("alerts.outbox.Planned", break_down)
        act("message.approved", message)
        refused = act("message.refused_at_gate", connection=connection, mailbox="m@x.example")
        act("connection.failing", connection=connection)
    assert planned() == []
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    assert [plan_missed(), plan_missed()] == [3, 0]
    found = planned()
    # Of what was before it a program is not told.
    late = place("inngest", acts)
    Destination.objects.filter(pk=late.pk).update(told_since=Now() + timedelta(hours=1))
    assert plan_missed() == 0
    assert sorted(kind for kind, action, _ in found if action == "message.approved") == ["answer", "card", "event"]
    assert {about for kind, _, about in found if kind == "card"} == {
        message.pk, f"refusal/{refused.pk}", f"connection/{connection.pk}",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("discord_bot", {"actions": ["message.approved"]}),
        ("inngest", {"actions": ["message.approved"]}),
        ("discord_webhook", {"answers_channel": "#outreach"}),
    ],
    ids=["card", "event", "answer"],
)
def test_each_kind_is_missed_by_itself(message, monkeypatch, kind, fields):
    Message.objects.update(trigger={"discord_channel": "outreach"})
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    place(kind, **fields)
    assert plan_missed() == 0
    entry = act("message.approved", message)
    assert plan_missed() == 0
    Delivery.objects.all().delete()
    Card.objects.all().delete()
    assert [plan_missed(), plan_missed()] == [1, 0]
    assert Delivery.objects.get().entry == entry.pk


def test_what_was_before_a_route_a_switch_on_or_a_mapped_channel_is_not_made_up_for(message, monkeypatch, admin):
    Message.objects.update(trigger={"discord_channel": "outreach"})
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    actor = admin.actor(surface="web")
    cards, program, off, answers = place(), place("inngest"), place("signed_webhook", ["message.approved"]), place()
    switch_off(destination_id=off.pk, actor=actor)
    act("message.approved", message)
    for one in (cards, program):
        add_route(destination_id=one.pk, wanted=Wanted(["email.decided"]), actor=actor)
    switch_on(destination_id=off.pk, actor=actor)
    mapped = Settings(name=answers.name, privacy="headers", answers_channel="#outreach")
    change_destination(destination_id=answers.pk, settings=mapped, url="", actor=actor)
    assert (plan_missed(), planned()) == (0, [])
    with monkeypatch.context() as broken:
        broken.setattr("alerts.outbox.Planned", None)
        act("message.approved", message)
    assert plan_missed() == 1
    assert sorted(kind for kind, _, _ in planned()) == ["answer", "card", "event", "event"]


def test_card_is_not_turned_for_what_happened_while_its_place_was_off(message, monkeypatch, admin):
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    kept = place(actions=["message.held"])
    Card.objects.create(destination=kept, message=message, discord_message_id="7")
    switch_off(destination_id=kept.pk, actor=admin.actor(surface="web"))
    act("message.rejected", message)
    switch_on(destination_id=kept.pk, actor=admin.actor(surface="web"))
    assert (plan_missed(), planned()) == (0, [])


def expiring_in(message, left, of):
    Message.objects.filter(pk=message.pk).update(expires_at=Now() + left, held_at=Now() + left - of)


@pytest.mark.parametrize(
    ("left", "of", "tells"),
    [
        (timedelta(minutes=59), timedelta(days=1), 1),
        (timedelta(minutes=61), timedelta(days=1), 0),
        (timedelta(minutes=5), timedelta(hours=1), 1),
        (timedelta(minutes=7), timedelta(hours=1), 0),
        (timedelta(minutes=-1), timedelta(hours=1), 0),
    ],
)
def test_message_that_nearly_expires_is_told_of_once(message, left, of, tells):
    expiring_in(message, left, of)
    assert [tell_of_expiring(), tell_of_expiring()] == [tells, 0]
    assert Entry.objects.filter(action="message.expiring", message=message.public_id).count() == tells


def test_message_that_is_decided_does_not_expire_and_the_sweep_tells_of_the_other(message, reviewer):
    place(actions=["message.expiring"])
    decided = make_message(message.connection)
    for one in (message, decided):
        expiring_in(one, timedelta(minutes=1), timedelta(hours=1))
    decide(decided, reviewer)
    tasks.sweep()
    assert [(action, about) for _, action, about in planned()] == [("message.expiring", message.pk)]


def test_connection_that_is_not_read_for_long_is_told_of_once_a_spell():
    connection = make_connection()
    Connection.objects.update(complete_as_of=Now() - timedelta(minutes=9))
    assert tell_of_staleness() == 0
    for spell in (1, 2):
        Connection.objects.update(complete_as_of=Now() - timedelta(minutes=11))
        assert [tell_of_staleness(), tell_of_staleness()] == [1, 0]
        Connection.objects.update(complete_as_of=Now() + timedelta(seconds=1))
        assert [tell_of_staleness(), tell_of_staleness()] == [1, 0]
        told = Entry.objects.filter(connection=connection.pk, action__startswith="connection.")
        assert list(told.order_by("id").values_list("action", flat=True)) == [
            "connection.stale", "connection.fresh_again",
        ] * spell  # fmt: skip


@pytest.mark.parametrize("fields", [{"paused_by_hand": True}, {"removed_at": Now()}], ids=["paused", "removed"])
def test_connection_that_a_person_put_away_is_not_told_of(fields):
    make_connection()
    Connection.objects.update(complete_as_of=Now() - timedelta(hours=1), **fields)
    assert tell_of_staleness() == 0


def test_event_of_a_webhook_is_planned_in_its_own_transaction(client, connection):
    place("inngest", ["message.held", "message.sent"])
    post_event(client, connection, event_body(email_id="01NEW"))
    post_event(client, connection, event_body("message.sent", email_id="01NEW"))
    assert [(kind, action) for kind, action, _ in planned()] == [("event", "message.held"), ("event", "message.sent")]
