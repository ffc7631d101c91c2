"""Tasks are sent after the commit, within a second, and not at all where Redis is
unavailable.
"""

import base64
import json

import pytest
import redis
from django.conf import settings
from django.db import transaction

from alerts.tasks import drain
from approvals.tasks import hydrate
from common import tasks

# A task is sent once its transaction has committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def broker():
    """An empty Redis."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.flushdb()
    return client


def rows(client, queue):
    """The rows that tasks in this queue are about, last first."""
    messages = [json.loads(text) for text in client.lrange(queue, 0, -1)]
    # The body is a list of arguments, keyword arguments, and options.
    bodies = [json.loads(base64.b64decode(one["body"])) for one in messages]
    return [arguments[0] for arguments, *_ in bodies]


def test_task_is_sent_once_its_transaction_has_committed(broker):
    with transaction.atomic():
        hydrate.delay_on_commit(1)
        hydrate.apply_async_on_commit((2,), countdown=None)
        assert rows(broker, "sync") == []
    assert rows(broker, "sync") == [2, 1]
    with transaction.atomic():
        hydrate.delay_on_commit(3)
        transaction.set_rollback(True)
    assert rows(broker, "sync") == [2, 1]


def test_task_that_waits_for_its_countdown_is_sent_once(broker):
    for row, countdown in enumerate((7, 7, 9)):
        hydrate.apply_async_on_commit((row,), countdown=countdown, once=True)
    assert rows(broker, "sync") == [2, 0]


def test_busy_worker_is_sent_no_more(monkeypatch, broker):
    monkeypatch.setattr(tasks, "ENOUGH", 3)
    drain.delay_each(range(3))
    drain.delay_each([3])
    drain.delay_each([4])
    assert rows(broker, "alerts") == [3, 2, 1, 0]
    assert not hydrate.has_enough_to_do()
