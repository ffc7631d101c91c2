"""A burst of events to five destinations: one is dead, one slow, one limited, and the workers are killed meanwhile."""

import os
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import timedelta

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from alerts.models import Card, Delivery, Destination
from alerts.sending.standard_webhooks import make_secret
from approvals.models import Message
from audit.models import Entry
from dashboard.launch.paths import ROOT
from tests.alerting import PROGRAM, discord
from tests.factories import event_body, make_connection, make_message, post_event
from tests.stack import wait_for

# Seconds: a dead worker's rows come back, and the channel's minute.
LEASE, WINDOW = 3.0, 3.0
WELL, DEAD, SLOW, LIMITED = 1, 2, 3, 4
TOLD = ("message.held", "message.approved", "message.sent", "message.delivered")
EVENTS = ("email.held", "email.decided", "email.sent", "email.delivered")
NAMES = ("oversight.approved", "message.sent", "message.delivered")


class Workers:
    """Processes that do what is due, and are killed."""

    def __init__(self, number, standin):
        database = make_conninfo(os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"])
        self.environment = {**os.environ, "DATABASE_URL": database, "OUTGOING_ALLOW": standin.url}
        self.running = [self.start() for _ in range(number)]

    def start(self):
        command = [sys.executable, "-m", "tests.alert_worker", str(LEASE), str(WINDOW)]
        return subprocess.Popen(command, env=self.environment, cwd=ROOT, stderr=subprocess.DEVNULL)

    def kill_one(self):
        self.end(self.running.pop(0))
        self.running.append(self.start())

    def end(self, worker):
        worker.kill()
        worker.wait(10)

    def end_all(self):
        for worker in self.running:
            self.end(worker)


@pytest.fixture
def standin():
    with discord() as served:
        yield served


@pytest.mark.fault(
    42,
    injected="A burst of events goes to five destinations, one dead, one slow, one limited; workers are killed (KILL).",
    held="Nothing is lost, a message's events come in their order, and a kill makes one post stand twice at most.",
)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("messages", "kills"), [(12, 2), pytest.param(250, 12, marks=pytest.mark.slow)], ids=["48 events", "1,000 events"]
)
def test_burst_loses_and_doubles_nothing(client, standin, monkeypatch, messages, kills):
    monkeypatch.setattr("alerts.planning.CONTENT_PAUSE", timedelta(0))
    standin.told, standin.hidden = (10, 0.5), (30, 2.0)
    places = {number: standin.place(number, actions=TOLD) for number in (WELL, DEAD, SLOW, LIMITED)}
    standin.gone, standin.slow = {str(DEAD)}, {str(SLOW): 0.15}
    standin.next[str(LIMITED)] = [(429, {}, {"retry_after": 0.3}) for _ in range(3)]
    workers = Workers(2, standin)
    try:
        happen(client, make_connection(), program(standin), messages)
        for kill in range(1, kills + 1):
            wait_for(lambda: len(standin.calls) >= kill * 3 or is_over(), 60, "requests")  # noqa: B023
            workers.kill_one()
        wait_for(is_over, 900, "everything told")
    finally:
        workers.end_all()
    check_events(standin, messages)
    for number in (WELL, SLOW, LIMITED):
        check_cards(standin, number, places[number], messages, kills)
    assert Destination.objects.get(pk=places[DEAD].pk).switched_off_at
    # One try, and one more for a kill that came before the answer was written down.
    assert len(standin.of(DEAD)) <= 1 + kills


def program(standin):
    kind = Destination.Kind.SIGNED_WEBHOOK
    return Destination.objects.create(name="program", kind=kind, url=f"{standin.url}/hook", secret=make_secret())


def happen(client, gateway, place, messages):
    """Hold many messages and let each go its way; the program is told of each act."""
    for number in range(messages):
        message = make_message(gateway, subject=f"Number {number}")
        for name in NAMES:
            post_event(client, gateway, event_body(name, email_id=message.upstream_id))
    rows = {message.public_id: message.pk for message in Message.objects.all()}
    Delivery.objects.bulk_create(
        Delivery(kind="event", destination=place, message_id=rows[entry.message], entry=entry.pk, action=entry.action)
        for entry in Entry.objects.filter(action__in=TOLD).order_by("pk")
    )


def is_over():
    return Delivery.objects.exists() and not Delivery.objects.unfinished().exists()


def check_events(standin, messages):
    told = defaultdict(list)
    for call in standin.of(int(PROGRAM), 200):
        told[call.body["data"]["message_id"]].append(call.body["type"])
    assert len(told) == messages
    # An event that went out twice went out twice in a row, before the next.
    assert {tuple(dict.fromkeys(types)) for types in told.values()} == {EVENTS}
    assert {state for (state,) in Delivery.objects.filter(kind="event").values_list("state")} == {"delivered"}


def check_cards(standin, number, place, messages, kills):
    cards = Card.objects.filter(destination=place)
    assert cards.count() == messages
    assert cards.filter(discord_message_id="", digest=None).count() == 0
    assert not Delivery.objects.filter(destination=place).exclude(state="delivered").exists()
    assert set(cards.filter(digest=None).values_list("status_shown", flat=True)) <= {"Delivered"}
    posts = Counter(call.alert or call.title for call in standin.of(number, 200) if call.method == "POST")
    own = cards.exclude(discord_message_id="").count()
    assert sum(posts.values()) <= own + cards.exclude(digest=None).values("digest").distinct().count() + kills
    on_posts = {call.title for call in standin.of(number, 200) if call.method == "POST"}
    assert not on_posts & set(cards.exclude(digest=None).values_list("message__subject", flat=True))
