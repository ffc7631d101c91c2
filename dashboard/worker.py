"""Starts one Celery worker, which runs tasks in threads: `python -m dashboard.worker
NAME QUEUES THREADS`.

It replaces Celery's command line, which would load a shell toolkit into each process. A
worker does not need that.
"""

import logging
import os
import signal
import sys
import threading
from typing import Any

from celery import bootsteps
from celery.concurrency.thread import TaskPool
from celery.signals import task_postrun, task_prerun
from kombu.transport import redis, virtual

from common import heartbeat
from common.garbage import collect_rarely
from common.threads import LastUsedExecutor

log = logging.getLogger(__name__)

# Running tasks are checked every 10 seconds. A task that is still running after 30
# checks is stuck: that is five minutes, and our longest task takes three and a half.
# Checks are counted instead of time, because a suspended worker makes no progress.
EVERY = 10.0
LOOKS = 30
# How long Redis is asked to wait for the next message before it is asked again.
WAIT_SECONDS = 10


class ThreadPool(TaskPool):
    """Celery's pool of threads, with our own executor: the next task goes to the thread
    that worked last.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.executor = LastUsedExecutor(self.limit, "task")


def main(name: str, queues: str, threads: str) -> int:
    """Run the worker until it is told to end, and return its exit status.

    The arguments are the worker's name, its queues with commas between them, and its
    number of threads.
    """
    # These imports need the settings.
    from dashboard.reporting import begin

    # Before Celery's app: the reports about a task need its trace id, which the app
    # removes at the end.
    begin()
    from dashboard.celery import app

    be_patient()
    app.steps["consumer"].add(HeartbeatStep)
    # Gossip, mingle and heartbeat are messages between workers, which these do not
    # need.
    worker = app.Worker(
        hostname=f"{name}@%h",
        queues=queues,
        # I/O-bound tasks run in threads: one slow MultiMail account must not delay the
        # next.
        pool_cls=ThreadPool,
        concurrency=int(threads),
        loglevel="INFO",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    if "sync" in queues.split(","):
        # Imported here, because Celery has loaded the apps only now.
        from alerts.deliveries.drain import AT_ONCE
        from mirror.tasks import SLOTS

        SLOTS.threads = int(threads) - (AT_ONCE if "alerts" in queues.split(",") else 0)
    Watch().begin()
    collect_rarely()
    worker.start()
    return int(worker.exitcode or 0)


class HeartbeatStep(bootsteps.StartStopStep):
    """Gives the heartbeat in the loop in which Celery takes messages from Redis."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    # Then that loop does not run, and Watch gives the heartbeat.
    is_waiting_for_redis = True

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        heartbeat.beat()
        self._timer = consumer.timer.call_repeatedly(heartbeat.EVERY, heartbeat.beat)
        HeartbeatStep.is_waiting_for_redis = False

    def stop(self, consumer: Any) -> None:
        HeartbeatStep.is_waiting_for_redis = True
        if self._timer:
            self._timer.cancel()


class Watch(threading.Thread):
    """Counts how many checks each running task has lasted, and kills the worker if a
    task hangs.

    A thread cannot be ended alone. Every outside call of ours has a time limit, so this
    is for what nobody foresaw. The launcher starts the worker again, and the sweep
    finds what its tasks were doing.
    """

    def __init__(self, *, every: float = EVERY, looks: int = LOOKS) -> None:
        super().__init__(name="stuck-watch", daemon=True)
        self._every = every
        self._looks = looks
        self._lock = threading.Lock()
        self._running: dict[str, tuple[str, int]] = {}

    def begin(self) -> None:
        """Connect to Celery's task signals, and start checking."""
        task_prerun.connect(self._note_begin, weak=False)
        task_postrun.connect(self._note_end, weak=False)
        self.start()

    def run(self) -> None:
        """Check periodically until the process ends."""
        pause = threading.Event()
        while not pause.wait(self._every):
            if HeartbeatStep.is_waiting_for_redis:
                heartbeat.beat()
            if stuck := self.look():
                log.critical("task does not end", extra={"tasks": ", ".join(stuck)})
                os.kill(os.getpid(), signal.SIGKILL)

    def look(self) -> list[str]:
        """Check once; return the names of the tasks that are stuck."""
        with self._lock:
            self._running = {
                task_id: (name, looks + 1)
                for task_id, (name, looks) in self._running.items()
            }
            return [
                name for name, looks in self._running.values() if looks >= self._looks
            ]

    def _note_begin(self, task_id: str, task: Any, **_: Any) -> None:
        with self._lock:
            self._running[task_id] = (task.name, 0)

    def _note_end(self, task_id: str, **_: Any) -> None:
        with self._lock:
            self._running.pop(task_id, None)


class PatientQoS(redis.QoS):
    """Counts a message as acknowledged, even if Redis did not get the acknowledgement.

    A worker takes no more messages than it may have unacknowledged. If acknowledging a
    message fails, Kombu keeps counting it as unacknowledged, and a worker with one
    place would never take a message again. With this class the place is free; Redis
    delivers the message again later, and every task here can run twice.
    """

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge the message. If that fails, free its place nevertheless."""
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Give the message back. If that fails, free its place nevertheless."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


def be_patient() -> None:
    """Use PatientQoS for every channel that this process opens from now on, and wait
    longer for the next message.

    Redis delivers a message at once anyway; Kombu would end its wait and begin it again
    every second.
    """
    redis.Channel.QoS = PatientQoS
    redis.Transport.brpop_timeout = WAIT_SECONDS


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
