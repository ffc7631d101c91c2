"""A burst of events to five destinations: one is dead, one slow, one limited, and the
workers are killed meanwhile.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import timedelta

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from alerts.channels import channel_of
from alerts.models import Card, Delivery, Destination
from audit.models import Entry
from launcher.paths import ROOT
from mirror.models import Message
from tests.alerting import PROGRAM, discord
from tests.factories import (
    confirm_reports,
    event_body,
    make_connection,
    make_message,
    post_event,
)
from tests.stack import wait_for

# Seconds: the lease of a dead worker, and the channel's rate window.
LEASE = 3.0
WINDOW = 3.0
WELL = 1
DEAD = 2
SLOW = 3
LIMITED = 4
ACTIONS = ("message.held", "message.approved", "message.sent", "message.delivered")
EVENTS = ["email.held", "email.decided", "email.sent", "email.delivered"]
NAMES = ("oversight.approved", "message.sent", "message.delivered")
# More than a channel gets as single posts.
MESSAGES = 24
KILLS = 3


@pytest.fixture
def standin():
    with discord() as served:
        yield served


def start_worker(standin):
    database = make_conninfo(
        os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"]
    )
    environment = {
        **os.environ,
        "DATABASE_URL": database,
        "OUTGOING_ALLOW": standin.url,
    }
    command = [sys.executable, "-m", "tests.alert_worker", str(LEASE), str(WINDOW)]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL
    )


def kill(worker):
    worker.kill()
    worker.wait(60)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_burst_loses_and_duplicates_nothing(client, standin, monkeypatch):
    monkeypatch.setattr("alerts.deliveries.planning.CONTENT_PAUSE", timedelta(0))
    standin.bucket_limit = (10, 0.5)
    standin.channel_limit = (30, 2.0)
    destinations = {
        number: standin.destination(number, actions=ACTIONS)
        for number in (WELL, DEAD, SLOW, LIMITED)
    }
    standin.gone = {str(DEAD)}
    standin.slow = {str(SLOW): 0.15}
    standin.next[str(LIMITED)] = [(429, {}, {"retry_after": 0.3}) for _ in range(3)]
    workers = [start_worker(standin) for _ in range(2)]
    try:
        send_events(client, make_connection(), standin)
        for number in range(1, KILLS + 1):
            wait_for(
                lambda least=number * 3: len(standin.calls) >= least or is_over(),
                300,
                "requests",
            )
            kill(workers.pop(0))
            workers.append(start_worker(standin))
        wait_for(is_over, 900, "everything told")
    finally:
        for worker in workers:
            kill(worker)
    check_events(standin)
    for number in (WELL, SLOW, LIMITED):
        check_cards(standin, number, destinations[number])
    assert Destination.objects.get(pk=destinations[DEAD].pk).switched_off_at
    # One attempt, and one more if the worker was killed before it stored the response.
    assert len(standin.of(DEAD)) <= 1 + KILLS


def send_events(client, gateway, standin):
    """Hold and decide many messages; the program gets an event for each action."""
    kind = "signed_webhook"
    program = Destination.objects.create(
        name="program",
        kind=kind,
        url=f"{standin.url}/hook",
        secret=channel_of("signed_webhook").new_secret(),
    )
    for number in range(MESSAGES):
        message = make_message(gateway, subject=f"Number {number}")
        for name in NAMES:
            post_event(client, gateway, event_body(name, email_id=message.upstream_id))
            confirm_reports()
    rows = {message.public_id: message.pk for message in Message.objects.all()}
    Delivery.objects.bulk_create(
        Delivery(
            kind="event",
            destination=program,
            message_id=rows[entry.message],
            entry=entry.pk,
            action=entry.action,
        )
        for entry in Entry.objects.filter(action__in=ACTIONS).order_by("pk")
    )


def is_over():
    return Delivery.objects.exists() and not Delivery.objects.unfinished().exists()


def check_events(standin):
    events_by_message = defaultdict(list)
    for call in standin.of(int(PROGRAM), 200):
        events_by_message[call.body["data"]["message_id"]].append(call.body["type"])
    assert len(events_by_message) == MESSAGES
    # An event that was sent twice was sent twice in a row, before the next one.
    assert all(
        list(dict.fromkeys(types)) == EVENTS for types in events_by_message.values()
    )
    assert not Delivery.objects.filter(kind="event").exclude(state="delivered").exists()


def check_cards(standin, number, destination):
    cards = Card.objects.filter(destination=destination)
    posted = Counter(
        call.title for call in standin.of(number, 200) if call.method == "POST"
    )
    assert cards.count() == MESSAGES
    assert not cards.filter(discord_message_id="", digest=None).exists()
    assert (
        not Delivery.objects.filter(destination=destination)
        .exclude(state="delivered")
        .exists()
    )
    single = cards.filter(digest=None).values_list("discord_message_id", flat=True)
    assert all("Delivered" in json.dumps(standin.posts[post]) for post in single)
    on_digests = cards.exclude(digest=None)
    wanted = (
        cards.exclude(discord_message_id="").count()
        + on_digests.values("digest").distinct().count()
    )
    assert sum(posted.values()) <= wanted + KILLS
    assert not posted.keys() & set(
        on_digests.values_list("message__subject", flat=True)
    )
