"""A pool of threads that gives each call to the thread that worked last, and ends
threads that were idle for long. The web server and the workers run on it.

Python's own pool uses its threads in turn. Each thread of ours keeps a database
connection, so with that pool a quiet process would keep many connections, each to a
PostgreSQL session that has to plan every query again.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from django.db import connections

IDLE_SECONDS = 60.0

_Call = Callable[[], None]


class LastUsedExecutor(Executor):
    """Up to `limit` threads, started when they are needed. Further calls wait in order."""

    def __init__(
        self, limit: int, name: str, *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.threads: set[threading.Thread] = set()
        self._limit = limit
        self._name = name
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], _Call]] = deque()
        # The queue at which each idle thread waits for its next call. That of the
        # thread that worked last is at the end.
        self._idle: list[queue.SimpleQueue[_Call | None]] = []
        self._is_shut = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        """Have a thread make this call."""
        future: Future[Any] = Future()
        call = partial(_run, future, partial(fn, *args, **kwargs))
        with self._lock:
            if self._is_shut:
                raise RuntimeError("no calls are taken any more")
            if self._idle:
                self._idle.pop().put(call)
            elif len(self.threads) < self._limit:
                thread = threading.Thread(
                    target=self._work, args=[call], name=self._name, daemon=True
                )
                # If it cannot be started, it must not take a place.
                thread.start()
                self.threads.add(thread)
            else:
                self._waiting.append((future, call))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls, and let the threads end after the calls that wait."""
        with self._lock:
            self._is_shut = True
            if cancel_futures:
                for future, _ in self._waiting:
                    future.cancel()
                self._waiting.clear()
            for inbox in self._idle:
                inbox.put(None)
            self._idle.clear()
            threads = list(self.threads)
        if wait:
            for thread in threads:
                thread.join()

    # What a thread runs: the first call, then further calls until there are no more.
    def _work(self, call: _Call | None) -> None:
        inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        while call is not None:
            call()
            # Otherwise its arguments and result would stay in memory until the next
            # call.
            del call
            call = self._next(inbox)
        connections.close_all()

    def _next(self, inbox: "queue.SimpleQueue[_Call | None]") -> _Call | None:
        """Wait for the next call and return it; None if the thread should end, because
        it was idle for long or the pool is shut.
        """
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()[1]
            if self._is_shut:
                return None
            self._idle.append(inbox)
        try:
            return inbox.get(timeout=self._idle_seconds)
        except queue.Empty:
            pass
        with self._lock:
            if inbox in self._idle:
                self._idle.remove(inbox)
                self.threads.discard(threading.current_thread())
                return None
        # Another thread took this inbox just now, and puts a call or None into it.
        return inbox.get()


# Makes a call, and gives its result or error to the future.
def _run(future: "Future[Any]", call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - passed on to the caller
        future.set_exception(error)
    else:
        future.set_result(result)
