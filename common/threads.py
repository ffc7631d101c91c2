"""A pool of threads that gives each call to the thread that worked last.

Python's own pool uses its threads in turn. Each of ours keeps a database connection, so
a quiet process would keep as many as it has threads, each with a session of PostgreSQL
that plans everything anew.
"""

import queue
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections

IDLE_SECONDS = 60.0


class LastUsedExecutor(ThreadPoolExecutor):
    """Python's pool of threads, with another queue of calls."""

    def __init__(self, limit: int, name: str) -> None:
        super().__init__(limit, name)
        self._work_queue = _Calls()  # type: ignore[assignment]


class _Calls:
    """The calls that wait, in order, and the threads that wait for one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Any] = deque()
        # Where each idle thread waits for its next call; the one that worked last is at
        # the end.
        self._idle: list[queue.SimpleQueue[Any]] = []

    def put(self, call: Any) -> None:
        with self._lock:
            if self._idle:
                self._idle.pop().put(call)
            else:
                self._calls.append(call)

    def get_nowait(self) -> Any:
        with self._lock:
            if not self._calls:
                raise queue.Empty
            return self._calls.popleft()

    def get(self, block: bool = True) -> Any:
        """Wait for a call. A thread that waits for long gives up its connection."""
        with self._lock:
            if self._calls:
                return self._calls.popleft()
            inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
            self._idle.append(inbox)
        try:
            return inbox.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            connections.close_all()
            return inbox.get()
