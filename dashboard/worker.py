"""Starts one Celery worker: `python -m dashboard.worker NAME QUEUES [THREADS]`, else one process of its own for tasks.

Celery's command line would load a shell toolkit into each process; the worker itself needs none of it.
"""

import logging
import os
import signal
import sys
import threading
from typing import Any

from celery.signals import task_postrun, task_prerun
from kombu.transport import redis, virtual

log = logging.getLogger(__name__)

# Each task that is still there after so many looks in a row is stuck: three minutes, where the longest of ours takes
# one and a half. Looks, not time: a worker that was stopped and goes on has not been at work meanwhile.
EVERY, LOOKS = 10.0, 18


def main(name: str, queues: str, threads: str = "") -> int:
    """Run the worker until it is told to end, and return its exit status."""
    # What is loaded here needs the settings.
    from dashboard.celery import app

    be_patient()
    # The workers need not know of each other.
    worker = app.Worker(
        hostname=f"{name}@%h",
        queues=queues,
        # What mostly waits for others does so in threads: one slow MultiMail account must not hold up the next.
        pool_cls="threads" if threads else "prefork",
        concurrency=int(threads or 1),
        loglevel="INFO",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    if threads:
        # Only now: Celery has loaded the apps.
        from alerts.deliveries.drain import AT_ONCE
        from approvals.tasks import SLOTS

        SLOTS.threads = int(threads) - (AT_ONCE if "alerts" in queues.split(",") else 0)
        Watch().begin()
    worker.start()
    return int(worker.exitcode or 0)


class Watch(threading.Thread):
    """Counts how many looks each running task has lasted, and ends a worker one of whose tasks does not come back.

    Threads have no hard time limit that could end a task alone. Every call of ours is bounded, so this is for what
    nobody foresaw; the launcher starts the worker again, and what its tasks were doing is found by the sweep.
    """

    def __init__(self, *, every: float = EVERY, looks: int = LOOKS) -> None:
        super().__init__(name="stuck-watch", daemon=True)
        self._every, self._looks = every, looks
        self._lock = threading.Lock()
        self._running: dict[str, tuple[str, int]] = {}

    def begin(self) -> None:
        """Hear of every task, and look from now on."""
        task_prerun.connect(self._note_begin, weak=False)
        task_postrun.connect(self._note_end, weak=False)
        self.start()

    def run(self) -> None:
        """Look now and then, for as long as the process lives."""
        pause = threading.Event()
        while not pause.wait(self._every):
            if stuck := self.look():
                log.critical("task does not end", extra={"tasks": ", ".join(stuck)})
                os.kill(os.getpid(), signal.SIGKILL)

    def look(self) -> list[str]:
        """Look once; return the names of the tasks that are stuck."""
        with self._lock:
            self._running = {task_id: (name, looks + 1) for task_id, (name, looks) in self._running.items()}
            return [name for name, looks in self._running.values() if looks >= self._looks]

    def _note_begin(self, task_id: str = "", task: Any = None, **_: Any) -> None:
        with self._lock:
            self._running[task_id] = (str(getattr(task, "name", "")), 0)

    def _note_end(self, task_id: str = "", **_: Any) -> None:
        with self._lock:
            self._running.pop(task_id, None)


class PatientQoS(redis.QoS):
    """Counts a message as done here, whatever Redis knows of it.

    A worker takes no more messages than it may have unacknowledged. Kombu keeps a message among these where
    acknowledging it failed; a Redis that stalls for a second would so take the only place of a process for good. Redis
    hands such a message out again when its time is over, which every task here bears.
    """

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge it; where that fails, free its place all the same."""
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Give it back; where that fails, free its place all the same."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


def be_patient() -> None:
    """Let every channel that this process opens from now on count so."""
    redis.Channel.QoS = PatientQoS


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
