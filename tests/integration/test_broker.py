"""A worker keeps its places while Redis stalls: what cannot be acknowledged in time does not count as being at work."""

import pytest
from django.conf import settings
from kombu import Connection, Queue
from redis import Redis
from redis import TimeoutError as RedisTimeout

from dashboard.broker import PatientQoS, be_patient

QUEUE = Queue("test-broker")


@pytest.fixture
def one_place(monkeypatch):
    """A channel of a worker that may have one message at a time, and the message that it has."""
    monkeypatch.setattr("kombu.transport.redis.Channel.QoS", PatientQoS)
    be_patient()
    with Connection(settings.CELERY_BROKER_URL, transport_options={"socket_timeout": 0.1}) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        queue = QUEUE.bind(channel)
        queue.declare()
        queue.purge()
        connection.Producer(channel).publish({}, routing_key=QUEUE.name)
        message = queue.get(no_ack=False)
        assert not channel.qos.can_consume()
        yield channel, message
        # Answered when the pause is over.
        Redis.from_url(settings.REDIS_URL, socket_timeout=5).ping()
        queue.purge()


@pytest.mark.parametrize("act", ["ack", "reject"])
def test_broker_that_stalls_at_the_end_of_a_task_takes_no_place_of_its_worker(one_place, act):
    channel, message = one_place
    channel.client.execute_command("CLIENT", "PAUSE", 300, "ALL")
    with pytest.raises(RedisTimeout):
        getattr(message, act)()
    assert channel.qos.can_consume()
