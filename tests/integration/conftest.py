"""Fixtures of the integration tests, which use a database: stand-ins for MultiMail and
Discord, people and messages.
"""

from datetime import timedelta
from functools import partial

import pytest
from django.db import connections, transaction
from django.db.models.functions import Now

from alerts import tasks
from alerts.deliveries.planning import CARD_ACTIONS, plan_waiting
from alerts.models import Destination, Route
from common import desk_mail, redis
from dashboard.celery import app
from dashboard.models import Tick
from gateway import smtp as mail_server_memory
from gateway.inbound import smtp_server
from mirror.models import Connection, Mailbox
from mirror.sync import reads
from tests import alerting
from tests.factories import make_connection, make_message, make_person
from tests.integration.gateway import servers
from tests.integration.gateway_served import make_account, served_gateway
from tests.standin import multimail

# A busy machine may be slower than the product's time limits for Redis.
redis.TIMEOUT_SECONDS = 60.0
patience = {"socket_timeout": 60.0, "socket_connect_timeout": 60.0}
app.conf.broker_transport_options = app.conf.broker_transport_options | patience


@pytest.fixture(autouse=True)
def _database(db):
    """Let every test here use the database."""


@pytest.fixture(autouse=True)
def _read_without_rest(monkeypatch):
    """Allow full reads without a pause between them, because MultiMail is a stand-in
    here.
    """
    monkeypatch.setattr(reads, "READ_PAUSE", timedelta(0))


@pytest.fixture(autouse=True)
def _redis_does_not_rest(monkeypatch):
    """Forget that an earlier test found Redis down."""
    monkeypatch.setattr(redis, "_rests_until", 0.0)


@pytest.fixture(autouse=True)
def _plans_nothing(monkeypatch):
    """Plan no alerts and notices: planning would take a third of the time in which a
    message is made.
    """
    # `setattr` would leave the class's method in the task's own attributes afterwards,
    # where what `sent_tasks` replaces in the class has no effect.
    monkeypatch.setitem(
        vars(tasks.plan), "apply_async_on_commit", lambda *_, **__: None
    )


@pytest.fixture
def plans_at_once(request, monkeypatch, _plans_nothing):
    """Plan alerts and notices when something is recorded, because no worker runs here:
    after the commit, if the test commits, else immediately.
    """
    marker = request.node.get_closest_marker("django_db")
    commits = "transactional_db" in request.fixturenames or bool(
        marker and marker.kwargs.get("transaction")
    )
    plan = (
        partial(transaction.on_commit, plan_waiting, robust=True)
        if commits
        else plan_waiting
    )

    monkeypatch.setitem(
        vars(tasks.plan), "apply_async_on_commit", lambda *_, **__: plan()
    )


@pytest.fixture(autouse=True)
def _without_counts(monkeypatch):
    """Leave out the counts in the sidebar, which the product remembers for some
    seconds. Here each page would count anew, in a quarter of its time.
    """
    rail = "dashboard.frame.context"
    monkeypatch.setattr(f"{rail}.recent_attention_count", lambda actor: 0)
    monkeypatch.setattr(f"{rail}._count", lambda rows: "")


@pytest.fixture(scope="session")
def _multimail():
    with multimail() as standin:
        yield standin


@pytest.fixture
def upstream(_multimail):
    """An empty stand-in for MultiMail."""
    _multimail.forget()
    return _multimail


@pytest.fixture
def mailbox(connection):
    """The mailbox of the connection."""
    return Mailbox.objects.select_related("connection").get(connection=connection)


@pytest.fixture
def keeper(mailbox):
    """An admin of one mailbox."""
    return make_person("kim@yourteam.example", "Kim Keeper", "admin", mailbox=mailbox)


@pytest.fixture
def second(db):
    """Another admin of everything."""
    return make_person("sam@yourteam.example", "Sam Second", "admin")


@pytest.fixture
def third(db):
    """A third reviewer of everything."""
    return make_person("cleo@example.com", "Cleo Sands", "reviewer")


@pytest.fixture
def working(connection):
    """A healthy desk: a connection that was just read, and busy workers."""
    Connection.objects.update(complete_as_of=Now(), created_at=Now())
    for job in ("approvals.tasks.sweep", "alerts.tasks.sweep"):
        Tick.objects.create(job=job, period=1, at=Now() - timedelta(seconds=65))
        Tick.objects.create(job=job, period=2)
    return connection


@pytest.fixture
def desk(signed_in, reviewer):
    """A signed-in client of a reviewer of everything."""
    return signed_in(reviewer)


@pytest.fixture
def route(plans_at_once):
    """The route of a Discord channel that gets alert cards."""
    channel = Destination.objects.create(
        name="#approvals", url="https://discord.com/api/webhooks/1/x"
    )
    return Route.objects.create(destination=channel, actions=list(CARD_ACTIONS))


@pytest.fixture
def stranger(db):
    """A reviewer who has a role only for another connection."""
    other = make_connection("other")
    return make_person("x@yourteam.example", "X", "reviewer", connection=other)


@pytest.fixture
def message(connection):
    """A held message."""
    return make_message(connection)


@pytest.fixture
def account(db):
    """An account of the real gateway, called over HTTP, and the desk's connection to
    it.
    """
    with served_gateway() as gateway:
        yield make_account(gateway)


@pytest.fixture
def mail_server(settings, monkeypatch):
    """A mail server that takes the gateway's mail."""
    # No attempt counts as slow, even on a busy machine, unless a test changes this.
    monkeypatch.setattr(mail_server_memory, "SLOW", 600)
    monkeypatch.setattr(mail_server_memory.State, "asked_again_at", 0.0)
    with servers.mail_server() as server:
        settings.EMAIL_URL = server.url
        yield server


@pytest.fixture
def discord(plans_at_once):
    """A stand-in for Discord's webhooks."""
    with alerting.discord() as standin:
        yield standin


@pytest.fixture
def server(settings, monkeypatch):
    """A mail server for the desk's own mail."""
    monkeypatch.setattr(desk_mail, "STEP_SECONDS", 0.5)
    with servers.mail_server() as running:
        settings.EMAIL_URL = running.url
        yield running


@pytest.fixture
def listener(db, monkeypatch):
    """The gateway's mail server. Its thread uses the test's database connection, and so
    its transaction, while the test waits for the response.
    """
    ours = connections["default"]

    def share_connection(work, recipient):
        connections["default"] = ours
        try:
            return work(recipient)
        finally:
            del connections["default"]

    monkeypatch.setattr(smtp_server, "with_fresh_connection", share_connection)
    ours.inc_thread_sharing()
    with servers.running() as one:
        yield one
    ours.dec_thread_sharing()
