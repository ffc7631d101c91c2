"""A worker stays available while Redis stalls: tasks that cannot be acknowledged in
time free their slot.
"""

import pytest
from django.conf import settings
from kombu import Connection, Queue
from redis import TimeoutError as RedisTimeout
from redis.connection import AbstractConnection

from dashboard.worker import PatientQoS, be_patient

QUEUE = Queue("test-broker")


def stall(*_, **__):
    raise RedisTimeout


@pytest.mark.parametrize("act", ["ack", "reject"])
def test_broker_that_stalls_at_the_end_of_a_task_does_not_block_its_worker(
    monkeypatch, act
):
    monkeypatch.setattr("kombu.transport.redis.Channel.QoS", PatientQoS)
    be_patient()
    with Connection(settings.CELERY_BROKER_URL) as connection:
        channel = connection.channel()
        # The worker may prefetch one message, and has it.
        channel.basic_qos(0, 1, False)
        queue = QUEUE.bind(channel)
        queue.declare()
        queue.purge()
        connection.Producer(channel).publish({}, routing_key=QUEUE.name)
        message = queue.get(no_ack=False)
        assert not channel.qos.can_consume()
        with monkeypatch.context() as patched:
            patched.setattr(AbstractConnection, "read_response", stall)
            with pytest.raises(RedisTimeout):
                getattr(message, act)()
        assert channel.qos.can_consume()
        queue.purge()
