"""Web processes do not wait for a PostgreSQL that is silent."""

import socket
import time

import pytest
from django.db import OperationalError, connection, transaction

from common.database import base
from common.postgres import statements_within


@pytest.fixture(autouse=True)
def _not_silent_yet(monkeypatch):
    monkeypatch.setattr(base, "_silent_until", 0.0)
    monkeypatch.setattr(base, "PATIENCE", 5)


@pytest.fixture
def database(db):
    wrapper = base.DatabaseWrapper(dict(connection.settings_dict))
    wrapper.patience = 5
    yield wrapper
    wrapper.close()


def sleep(wrapper):
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")


def test_long_statement_ends_alone_while_postgresql_answers_others(database):
    database.patience = 0.1
    with pytest.raises(OperationalError):
        sleep(database)
    assert not database.is_usable()
    database.close()
    with database.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert base._silent_until == 0


def test_statement_that_may_take_longer_is_waited_for(database, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("common.postgres.connection", database)
        patch.setattr(transaction, "get_connection", lambda using=None: database)
        with statements_within(milliseconds=30_000):
            assert database.patience == 31
    assert database.patience == base.PATIENCE


def test_after_one_connection_that_nobody_took_the_next_fail_without_waiting(
    database, monkeypatch
):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database.settings_dict |= {
            "HOST": "127.0.0.1",
            "PORT": silent.getsockname()[1],
            "OPTIONS": {"connect_timeout": 2},
        }
        for _ in range(3):
            with pytest.raises(OperationalError):
                database.ensure_connection()
        first, _ = silent.accept()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
        # It is tried again later, and nothing is left of the first attempt.
        monkeypatch.setattr(base, "_silent_until", time.monotonic())
        with pytest.raises(OperationalError):
            database.ensure_connection()
        silent.accept()
        first.settimeout(30)
        with first:
            while first.recv(1000):
                pass
