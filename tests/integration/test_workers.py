"""What keeps workers at work: heartbeats, ticks, slots of connections, a broker that
stalls.
"""

import os
import signal
import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django.db.models.functions import Now
from kombu import Connection as Broker
from kombu import Queue
from redis import TimeoutError as RedisTimeout
from redis.connection import AbstractConnection

from approvals import tasks
from dashboard.models import Tick
from dashboard.tasks import tick
from dashboard.worker import PatientQoS, be_patient
from launcher.child import SILENT_LOOKS, Child, Heartbeat
from launcher.processes import Process
from mirror.tasks import ConnectionSlots, forget
from tests.factories import NOW, change_row, make_connection, make_message
from tests.integration.deciding import decide
from tests.stack import wait_for

LOOP = "import time; from common.heartbeat import beat\nwhile True: beat(); time.sleep(0.01)"


def test_child_whose_loop_stops_is_ended_after_some_looks(tmp_path):
    plan = Process(
        name="loop", command=(sys.executable, "-c", LOOP), has_heartbeat=True
    )
    child = Child(plan, environment=dict(os.environ), logs=tmp_path)
    child.start()
    # As if it had run for a while.
    child.started -= 60
    try:
        beats = Heartbeat(tmp_path / "loop.heartbeat")
        for _ in range(SILENT_LOOKS + 1):
            wait_for(beats.has_beaten, 20, "a beat")
            assert not child.end_if_hanging()
        os.kill(child.running.pid, signal.SIGSTOP)
        wait_for(lambda: not beats.has_beaten(), 20, "no beat")
        looks = [child.end_if_hanging() for _ in range(SILENT_LOOKS + 1)]
        assert looks[-2:] != [False, False]
        assert child.running.wait(20) == -signal.SIGKILL
    finally:
        child.end_now()


JOB = forget.name
DAY = 86400


def test_job_runs_once_in_a_period_and_its_old_ticks_are_deleted(monkeypatch):
    monkeypatch.setattr(forget, "run", lambda: "done")
    Tick.objects.create(job=JOB, period=-1, at=Now() - timedelta(minutes=61))
    Tick.objects.create(job=JOB, period=-2, at=Now() - timedelta(minutes=59))
    Tick.objects.create(job="another", period=1, at=Now() - timedelta(days=1))
    # From before the database's clock was set back.
    Tick.objects.create(job=JOB, period=1, at=Now() + timedelta(minutes=30))
    assert tick(JOB, 50 * 365 * DAY) == "done"
    assert tick(JOB, 50 * 365 * DAY) == "done by another"
    assert sorted(Tick.objects.values_list("job", "period")) == [
        ("another", 1),
        (JOB, -2),
        (JOB, 1),
    ]


QUEUE = Queue("test-broker")


def stall(*_, **__):
    raise RedisTimeout


@pytest.mark.parametrize("act", ["ack", "reject"])
def test_broker_that_stalls_at_the_end_of_a_task_does_not_block_its_worker(
    monkeypatch, act
):
    monkeypatch.setattr("kombu.transport.redis.Channel.QoS", PatientQoS)
    be_patient()
    with Broker(settings.CELERY_BROKER_URL) as connection:
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


def test_task_without_a_slot_of_its_connection_is_sent_again_decisions_first(
    reviewer, monkeypatch, sent_tasks
):
    monkeypatch.setattr("mirror.tasks.SLOTS", ConnectionSlots(8))
    slow = make_connection("slow")
    well = make_connection("well")
    first, second, elsewhere = (
        make_message(one, hydrated=False) for one in (slow, slow, well)
    )
    decision = decide(make_message(slow), reviewer).decision
    change_row(slow, failing_since=NOW)
    sent_tasks.clear()

    def hydrate(message_id, now):
        """What the first does meanwhile takes no thread of the others."""
        if message_id != first.pk:
            return "read"
        return [
            tasks.hydrate(second.pk),
            tasks.execute_decision(decision.pk),
            tasks.hydrate(elsewhere.pk),
        ]

    monkeypatch.setattr("approvals.reconcile.reads.hydrate", hydrate)
    assert tasks.hydrate(first.pk) == ["no room now", "no room now", "read"]
    assert sent_tasks == [
        ("approvals.tasks.execute_decision", decision.pk),
        ("approvals.tasks.hydrate", second.pk),
    ]
