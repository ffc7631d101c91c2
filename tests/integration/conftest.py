"""Fixtures of the tests with a database."""

from datetime import timedelta

import pytest

from common import redis
from dashboard.celery import app
from mirror.sync import reads
from tests import alerting
from tests.integration.gateway_served import ServedAccount, make_account, served_gateway
from tests.standin import multimail

# A busy machine may need longer than a request would wait.
redis.TIMEOUT_SECONDS = 60.0
patience = {"socket_timeout": 60.0, "socket_connect_timeout": 60.0}
app.conf.broker_transport_options = app.conf.broker_transport_options | patience


@pytest.fixture(autouse=True)
def _read_without_rest(monkeypatch):
    """Allow full reads without a pause between them, because MultiMail is a stand-in here."""
    monkeypatch.setattr(reads, "READ_PAUSE", timedelta(0))


@pytest.fixture(autouse=True)
def _redis_does_not_rest(monkeypatch):
    """Forget that an earlier test found Redis down."""
    monkeypatch.setattr(redis, "_rests_until", 0.0)


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
def desk(signed_in, reviewer):
    """A signed-in client of a reviewer of everything."""
    return signed_in(reviewer)


@pytest.fixture
def account(db) -> ServedAccount:
    """An account of the real gateway, called over HTTP, and the desk's connection to it."""
    with served_gateway() as gateway:
        yield make_account(gateway)


@pytest.fixture
def discord(monkeypatch):
    """A stand-in for Discord's webhooks. Message content is available at once, so cards do not wait for it."""
    monkeypatch.setattr("alerts.deliveries.planning.CONTENT_PAUSE", timedelta(0))
    with alerting.discord() as standin:
        yield standin
