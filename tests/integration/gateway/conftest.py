"""The gateway with its own URLs and middleware, whatever else the test process has
installed.
"""

import pytest
from django.db import connections

from common import redis
from gateway import smtp as mail_server_memory
from gateway.inbound import smtp_server
from gateway.states import Mode
from gateway.webhooks import deliveries
from tests.integration.gateway import servers
from tests.integration.gateway.world import make_world
from tests.programs import program


@pytest.fixture(autouse=True)
def _serve_the_gateway(settings):
    servers.serve_the_gateway(settings, "smtp://127.0.0.1:9")
    settings.OUTGOING_ALLOW = []
    # No server: tests of DNS start their own.
    settings.DNS_SERVER = ("127.0.0.1", 9)


@pytest.fixture
def world(db):
    return make_world()


@pytest.fixture
def free(db):
    """An account whose mail is sent without review."""
    return make_world("free", mode=Mode.AUTONOMOUS)


@pytest.fixture
def listening(world):
    """An account that is told what becomes of its mail."""
    outcomes = ("sent", "delivered", "bounced", "complained", "failed")
    world.listen(*(f"message.{one}" for one in outcomes))
    return world


@pytest.fixture
def other(db):
    """Another tenant."""
    return make_world("globex")


@pytest.fixture
def mail_server(settings, monkeypatch):
    # No attempt counts as slow on a busy machine, unless a test says so.
    monkeypatch.setattr(mail_server_memory, "SLOW", 600)
    with servers.mail_server() as server:
        settings.EMAIL_URL = server.url
        yield server


@pytest.fixture
def hook_server(settings, monkeypatch):
    # No endpoint backs off on a busy machine, unless a test sets a longer duration.
    monkeypatch.setattr(deliveries, "SLOW", 9)
    monkeypatch.setattr(deliveries, "SLOW", 9)
    with program() as server:
        settings.OUTGOING_ALLOW = [server.url]
        yield server


@pytest.fixture
def counting(monkeypatch):
    """Wait for Redis on a busy machine, and reset what a test changed about it."""
    monkeypatch.setattr(redis, "TIMEOUT_SECONDS", 60)
    monkeypatch.setattr(redis, "_rests_until", 0.0)
    redis.quick_redis.cache_clear()
    yield
    redis.quick_redis.cache_clear()


@pytest.fixture
def listener(db, monkeypatch):
    """A listener whose thread works in the test's own transaction while the test waits
    for its responses.
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


@pytest.fixture
def client(listener):
    with servers.connected(listener) as one:
        yield one
