"""Ends a worker one of whose threads does not come back: threads have no hard time limit that could end a task alone.

Every call of ours is bounded, so this is for what nobody foresaw. The launcher starts the worker again, and what its
tasks were at is found by the sweep.
"""

import logging
import os
import signal
import threading
from typing import Any

from celery.signals import task_postrun, task_prerun

log = logging.getLogger(__name__)

# Each task that is still there after so many looks in a row is stuck: three minutes, where the longest of ours takes
# one and a half. Looks, not time: a worker that was stopped and goes on has not been at work meanwhile.
EVERY, LOOKS = 10.0, 18


class Watch(threading.Thread):
    """Counts how many looks each running task has lasted."""

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
