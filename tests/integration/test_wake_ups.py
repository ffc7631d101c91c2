"""Wake-ups are Celery messages, sent without waiting for Redis, and dropped where it is unavailable."""

import json
import threading

import pytest
import redis
from celery import current_app
from django.conf import settings
from django.db import transaction

import dashboard.celery  # noqa: F401 - the app that wake-ups are sent with
from common import enqueue

pytestmark = pytest.mark.django_db

# A wake-up is sent once its transaction has committed.
committed = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def patient_redis(monkeypatch):
    """An empty Redis."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    enqueue.flush(60)
    client.flushdb()
    monkeypatch.setattr(enqueue, "quick_redis", lambda: client)
    return client


def messages(client, queue):
    enqueue.flush(60)
    return [json.loads(text) for text in client.lrange(queue, 0, -1)]


def shape(message):
    """A message without the fields that always differ."""
    headers, properties = message["headers"], message["properties"]
    for varies in ("id", "root_id"):
        assert headers[varies] == properties["correlation_id"]
    # A message without time limits has the worker's.
    differs = ("id", "root_id", "eta", "argsrepr", "timelimit")
    compared = {name: value for name, value in headers.items() if name not in differs}
    known = ("delivery_mode", "delivery_info", "priority", "body_encoding")
    return {
        **{name: message[name] for name in ("body", "content-encoding", "content-type")},
        "headers": {**compared, "has eta": bool(headers["eta"])},
        "properties": {name: properties[name] for name in known},
    }


@committed
@pytest.mark.parametrize("countdown", [None, 1.05])
def test_wake_up_is_the_message_that_celery_itself_would_send(patient_redis, countdown):
    enqueue.enqueue("approvals.tasks.hydrate", 42, countdown=countdown)
    enqueue.flush(60)
    current_app.send_task("approvals.tasks.hydrate", args=[42], countdown=countdown, ignore_result=True)
    theirs, ours = messages(patient_redis, "sync")
    assert shape(ours) == shape(theirs)


@committed
def test_wake_up_is_what_a_worker_takes_once_it_is_committed(patient_redis):
    enqueue.enqueue("alerts.tasks.drain", 7)
    enqueue.flush(60)
    with current_app.connection_for_read() as connection:
        message = connection.SimpleQueue("alerts").get(timeout=60)
        message.ack()
    assert (message.headers["task"], message.payload[0]) == ("alerts.tasks.drain", [7])
    # A transaction that is rolled back sends nothing.
    with transaction.atomic():
        enqueue.enqueue("approvals.tasks.hydrate", 1)
        transaction.set_rollback(True)
    assert messages(patient_redis, "sync") == []


@committed
def test_redis_that_is_away_is_asked_by_no_request_and_then_left_alone(monkeypatch):
    nowhere, asked = redis.Redis.from_url("unix:///nonexistent/redis.sock"), []
    monkeypatch.setattr(enqueue, "quick_redis", lambda: asked.append(threading.current_thread()) or nowhere)
    monkeypatch.setattr(enqueue, "REST_SECONDS", 600.0)
    for number in range(100):
        enqueue.enqueue("approvals.tasks.hydrate", number)
    enqueue.flush(60)
    assert {thread.name for thread in asked} == {"wake-ups"}, "the one thread that carries them waited"
    assert enqueue.is_resting()
    asked.clear()
    enqueue.enqueue("approvals.tasks.hydrate", 1)
    enqueue.flush(60)
    assert not enqueue.has_enough_to_do("alerts.tasks.drain")
    assert asked == []


def test_redis_that_is_away_keeps_no_sweep_from_its_work(monkeypatch):
    monkeypatch.setattr(enqueue, "quick_redis", lambda: redis.Redis.from_url("unix:///nonexistent/redis.sock"))
    assert not enqueue.has_enough_to_do("alerts.tasks.drain")


@committed
def test_busy_worker_is_not_woken_again(monkeypatch):
    monkeypatch.setattr(enqueue, "ENOUGH", 3)
    for number in range(3):
        enqueue.enqueue("alerts.tasks.drain", number)
    enqueue.flush(60)
    assert not enqueue.has_enough_to_do("alerts.tasks.drain")
    enqueue.enqueue("alerts.tasks.drain", 0)
    enqueue.flush(60)
    assert enqueue.has_enough_to_do("alerts.tasks.drain")
    assert not enqueue.has_enough_to_do("approvals.tasks.hydrate")
