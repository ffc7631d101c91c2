"""Nudges travel as Celery's own messages, without waiting for Redis, and are given up where it is away."""

import json
import time

import pytest
import redis
from celery import current_app
from django.db import transaction

import dashboard.celery  # noqa: F401 - the app that nudges are sent with
from common import nudge

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _empty_redis():
    nudge.flush()
    nudge.quick_redis().flushdb()
    nudge._rests_until = 0.0
    yield
    nudge._rests_until = 0.0


def messages(queue):
    return [json.loads(text) for text in nudge.quick_redis().lrange(queue, 0, -1)]


def shape(message):
    """A message without what is different in each."""
    headers, properties = message["headers"], message["properties"]
    for varies in ("id", "root_id"):
        assert headers[varies] == properties["correlation_id"]
    # The limits of time are the worker's own where a message has none.
    differs = ("id", "root_id", "eta", "argsrepr", "timelimit")
    kept = {name: value for name, value in headers.items() if name not in differs}
    known = ("delivery_mode", "delivery_info", "priority", "body_encoding")
    return {
        **{name: message[name] for name in ("body", "content-encoding", "content-type")},
        "headers": {**kept, "has eta": bool(headers["eta"])},
        "properties": {name: properties[name] for name in known},
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("countdown", [None, 1.05])
def test_nudge_is_the_message_that_celery_itself_would_send(countdown):
    nudge.nudge("approvals.tasks.hydrate", 42, countdown=countdown)
    nudge.flush()
    current_app.send_task("approvals.tasks.hydrate", args=[42], countdown=countdown, ignore_result=True)
    theirs, ours = messages("sync")
    assert shape(ours) == shape(theirs)


@pytest.mark.django_db(transaction=True)
def test_nudge_is_what_a_worker_takes():
    nudge.nudge("alerts.tasks.deliver", 7)
    nudge.flush()
    with current_app.connection_for_read() as connection:
        message = connection.SimpleQueue("alerts").get(timeout=5)
        message.ack()
    assert (message.headers["task"], message.payload[0]) == ("alerts.tasks.deliver", [7])


@pytest.mark.django_db(transaction=True)
def test_nudge_of_what_was_rolled_back_is_not_sent():
    with transaction.atomic():
        nudge.nudge("approvals.tasks.hydrate", 1)
        transaction.set_rollback(True)
    nudge.flush()
    assert messages("sync") == []


@pytest.mark.django_db(transaction=True)
def test_request_does_not_wait_for_a_redis_that_is_away(monkeypatch):
    nowhere = redis.Redis.from_url("unix:///nonexistent/redis.sock")
    asked = []
    monkeypatch.setattr(nudge, "quick_redis", lambda: asked.append(1) or nowhere)
    began = time.monotonic()
    for number in range(100):
        nudge.nudge("approvals.tasks.hydrate", number)
    assert time.monotonic() - began < 0.5
    nudge.flush()
    assert nudge.is_resting()
    asked.clear()
    nudge.nudge("approvals.tasks.hydrate", 1)
    nudge.flush()
    assert asked == []


@pytest.mark.django_db(transaction=True)
def test_worker_that_is_behind_is_not_told_again():
    for number in range(nudge.ENOUGH):
        nudge.nudge("alerts.tasks.deliver", number)
    nudge.flush()
    assert not nudge.has_enough_to_do("alerts.tasks.deliver")
    nudge.nudge("alerts.tasks.deliver", 0)
    nudge.flush()
    assert nudge.has_enough_to_do("alerts.tasks.deliver")
    assert not nudge.has_enough_to_do("approvals.tasks.hydrate")


def test_redis_that_is_away_keeps_no_sweep_from_its_work(monkeypatch):
    nowhere = redis.Redis.from_url("unix:///nonexistent/redis.sock")
    monkeypatch.setattr(nudge, "quick_redis", lambda: nowhere)
    assert not nudge.has_enough_to_do("alerts.tasks.deliver")
