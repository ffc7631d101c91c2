"""Persistent connections: a closed one is noticed before a request uses it, without a query each time."""

import select
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper


@pytest.fixture
def connect(db: None) -> Iterator[Callable[[], BaseDatabaseWrapper]]:
    """Open connections besides the test's own."""
    opened: list[BaseDatabaseWrapper] = []

    def another() -> BaseDatabaseWrapper:
        opened.append(connection.copy())
        return opened[-1]

    yield another
    for one in opened:
        one.close()


def ask(wrapper: BaseDatabaseWrapper, statement: str, *values: Any) -> Any:
    with wrapper.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0] if cursor.description else None


def wait_for_word(wrapper: BaseDatabaseWrapper) -> None:
    """Wait until the server has sent something."""
    assert select.select([wrapper.connection.pgconn.socket], [], [], 60)[0]


def test_open_connection_is_usable_and_is_not_asked(connect):
    wrapper = connect()
    pid = ask(wrapper, "SELECT pg_backend_pid() /* the last of a request */")
    assert wrapper.is_usable()
    assert "the last of a request" in ask(connect(), "SELECT query FROM pg_stat_activity WHERE pid = %s", pid)


def test_connection_that_the_server_closed_is_replaced_before_it_is_used(connect):
    wrapper = connect()
    pid = ask(wrapper, "SELECT pg_backend_pid()")
    ask(connect(), "SELECT pg_terminate_backend(%s, 60000)", pid)
    wait_for_word(wrapper)
    assert not wrapper.is_usable()
    wrapper.health_check_enabled, wrapper.health_check_done = True, False
    assert ask(wrapper, "SELECT pg_backend_pid()") != pid


def test_connection_with_a_pending_notification_is_checked_and_reused(connect):
    wrapper = connect()
    ask(wrapper, "LISTEN health")
    pid = ask(wrapper, "SELECT pg_backend_pid()")
    ask(connect(), "NOTIFY health")
    wait_for_word(wrapper)
    assert wrapper.is_usable()
    assert "SELECT 1" in ask(connect(), "SELECT query FROM pg_stat_activity WHERE pid = %s", pid)


def test_connection_that_is_gone_on_this_side_is_not_usable(connect):
    wrapper = connect()
    ask(wrapper, "SELECT 1")
    wrapper.connection.close()
    assert not wrapper.is_usable()
