"""Fixtures of the gateway's tests. The gateway is used with its own URLs and
middleware, in place of the desk's.
"""

import pytest

from common import redis
from gateway.states import Mode
from gateway.webhooks import deliveries
from tests.integration.gateway import servers
from tests.integration.gateway.world import make_world
from tests.programs import program


@pytest.fixture(autouse=True)
def _serve_the_gateway(settings):
    servers.serve_the_gateway(settings, "smtp://127.0.0.1:9")
    settings.OUTGOING_ALLOW = []
    # Nothing answers there: tests of DNS start their own server.
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
    """An account with a webhook for all outcomes of its mail."""
    outcomes = ("sent", "delivered", "bounced", "complained", "failed")
    world.listen(*(f"message.{one}" for one in outcomes))
    return world


@pytest.fixture
def other(db):
    """Another tenant."""
    return make_world("globex")


@pytest.fixture
def hook_server(settings, monkeypatch):
    # No endpoint counts as slow, even on a busy machine, unless a test changes this.
    monkeypatch.setattr(deliveries, "SLOW", 9)
    with program() as server:
        settings.OUTGOING_ALLOW = [server.url]
        yield server


@pytest.fixture
def counting(monkeypatch):
    """Wait long for Redis, because the machine may be busy, and reset its client after
    the test.
    """
    monkeypatch.setattr(redis, "TIMEOUT_SECONDS", 60)
    monkeypatch.setattr(redis, "_rests_until", 0.0)
    redis.quick_redis.cache_clear()
    yield
    redis.quick_redis.cache_clear()


@pytest.fixture
def client(listener):
    with servers.connected(listener) as one:
        yield one
