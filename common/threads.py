"""A pool of threads that gives each call to the thread that worked last, and ends
threads that were idle for long.

Python's own pool uses its threads in turn. Each of ours keeps a database connection, so
a quiet process would keep as many as it has threads, each with a session of PostgreSQL
that plans everything anew.
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
    """Up to `limit` threads, begun as they are needed; more calls wait, in order."""

    def __init__(
        self, limit: int, name: str, *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.threads: set[threading.Thread] = set()
        self._limit = limit
        self._name = name
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], _Call]] = deque()
        # Where each idle thread waits for its next call; the one that worked last is at
        # the end.
        self._idle: list[queue.SimpleQueue[_Call | None]] = []
        self._is_shut = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        """Have a thread call it."""
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
                self.threads.add(thread)
                thread.start()
            else:
                self._waiting.append((future, call))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and let the threads end after what is left."""
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

    def _work(self, call: _Call | None) -> None:
        inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        while call is not None:
            call()
            # What it refers to must not live until the next call comes.
            del call
            call = self._next(inbox)
        connections.close_all()

    def _next(self, inbox: "queue.SimpleQueue[_Call | None]") -> _Call | None:
        """Wait for the next call; None when the thread should end, whose place is free
        then.
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
        # A call came at the last moment.
        return inbox.get()


def _run(future: "Future[Any]", call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the result
        future.set_exception(error)
    else:
        future.set_result(result)
