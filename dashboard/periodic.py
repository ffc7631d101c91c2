"""Sends the task of each periodic job once a period, from a thread of a worker, by the
monotonic clock.

It decides nothing: rows decide what is due, and of several senders one counts in a
period (dashboard.tasks).
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

from celery import Celery, bootsteps

log = logging.getLogger(__name__)


class PeriodicThread(threading.Thread):
    """Celery's own beat uses the wall clock: if that is set back by an hour, it sends
    nothing for an hour.
    """

    def __init__(self, app: Celery, table: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(name="periodic", daemon=True)
        self._app = app
        self._table = table
        self._ending = threading.Event()

    def run(self) -> None:
        """Send until asked to stop. If it fails, its worker ends, and the launcher
        starts both again.
        """
        due = dict.fromkeys(self._table, time.monotonic())
        try:
            while not self._ending.wait(min(due.values()) - time.monotonic()):
                for job, at in due.items():
                    if at <= time.monotonic():
                        self._send(job)
                        # Count from now and not from the due time: missed periods are
                        # not made up for.
                        due[job] = time.monotonic() + self._table[job]["schedule"]
        finally:
            if not self._ending.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    def end(self) -> None:
        self._ending.set()

    def _send(self, job: str) -> None:
        entry = self._table[job]
        try:
            self._app.send_task(entry["task"], args=entry["args"], **entry["options"])
        except Exception as error:  # noqa: BLE001 - of any kind; the next period tries again
            log.warning("no beat", extra={"job": job, "reason": type(error).__name__})


class PeriodicStep(bootsteps.StartStopStep):
    """Starts the thread if BEAT names a product: a separate process would be as large
    as a worker.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        self.enabled = "BEAT" in os.environ
        self.thread: PeriodicThread | None = None

    def start(self, worker: Any) -> None:
        self.thread = PeriodicThread(worker.app, worker.app.conf.beat_schedule)
        self.thread.start()

    def stop(self, worker: Any) -> None:
        if self.thread:
            self.thread.end()
