"""Fixtures of the tests with a database."""

from datetime import timedelta

import pytest

from mirror.sync import reads
from tests import alerting
from tests.integration.gateway_served import ServedAccount, make_account, served_gateway
from tests.standin import multimail


@pytest.fixture(autouse=True)
def _read_without_rest(monkeypatch):
    """Let one whole read follow the other at once: MultiMail is a stand-in here, which asks for no rest."""
    monkeypatch.setattr(reads, "READ_PAUSE", timedelta(0))


@pytest.fixture(scope="session")
def _multimail():
    with multimail() as standin:
        yield standin


@pytest.fixture
def upstream(_multimail):
    """A stand-in for MultiMail that holds and knows nothing yet."""
    _multimail.forget()
    return _multimail


@pytest.fixture
def desk(signed_in, reviewer):
    """The desk in the browser of a reviewer of everything."""
    return signed_in(reviewer)


@pytest.fixture
def account(db) -> ServedAccount:
    """An account of the real gateway, called over HTTP, and the desk's connection to it."""
    with served_gateway() as gateway:
        yield make_account(gateway)


@pytest.fixture
def discord(monkeypatch):
    """A stand-in for Discord's webhooks. The content of mail is there at once, so its card need not wait for it."""
    monkeypatch.setattr("alerts.deliveries.planning.CONTENT_PAUSE", timedelta(0))
    # A test before this one may have met a Redis that was away, which is then left alone for a while.
    monkeypatch.setattr("common.enqueue._rests_until", 0.0)
    with alerting.discord() as standin:
        yield standin
