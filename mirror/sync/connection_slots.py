"""Shares this process's threads among the connections: one that is slow or down must
not hold up the others.

Pure counting under a lock. A job without a slot does not wait in a thread: it is
queued, and returned when a slot of its connection is free. The periodic sweep finds
jobs that are lost with the process.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# A task and its row.
Job = tuple[Any, int]

# Threads that one connection leaves to the others.
KEPT_FREE = 3
# A connection that took this many seconds gets two slots: one to read, one to decide.
SLOW = 5.0
WHEN_SLOW = 2
WHEN_FAILING = 1
MAX_QUEUED = 1000


@dataclass
class Entry:
    """Whether there was a slot, and after the work which queued jobs may be sent again."""

    is_in: bool
    next: tuple[Job, ...] = ()


class ConnectionSlots:
    """The slots of all connections in a process with so many threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._lock = threading.Lock()
        self._busy: Counter[int] = Counter()
        self._reading: Counter[int] = Counter()
        self._slow: set[int] = set()
        self._queued: dict[tuple[int, bool], OrderedDict[Job, None]] = {}

    @contextmanager
    def enter(
        self, connection: int, job: Job, *, is_well: bool, is_urgent: bool
    ) -> Iterator[Entry]:
        """Take a slot for as long as the block runs, or queue the job; the entry's
        `is_in` says which.

        Urgent jobs (decisions) come before others, which never take more than half of
        the slots.
        """
        with self._lock:
            entry = Entry(self._is_free(connection, is_well, is_urgent))
            if entry.is_in:
                self._busy[connection] += 1
                if not is_urgent:
                    self._reading[connection] += 1
            else:
                # Another job of this connection is running, and sends this one again
                # when it ends.
                queued = self._queued.setdefault((connection, is_urgent), OrderedDict())
                if len(queued) < MAX_QUEUED:
                    queued[job] = None
        began = time.monotonic()
        try:
            yield entry
        finally:
            if entry.is_in:
                is_slow = time.monotonic() - began > SLOW
                entry.next = self._leave(
                    connection, is_slow=is_slow, is_urgent=is_urgent
                )

    def _is_free(self, connection: int, is_well: bool, is_urgent: bool) -> bool:
        mine = self._busy[connection]
        if not mine:
            return True
        most = self.threads - KEPT_FREE
        if sum(self._busy.values()) >= most:
            return False
        if not is_well:
            most = WHEN_FAILING
        elif connection in self._slow:
            most = WHEN_SLOW
        if not is_urgent:
            # One read may run, however many decisions are due: only a read shows that
            # the connection is healthy.
            return self._reading[connection] < (max(1, most // 2) if mine < most else 1)
        return mine < most

    def _leave(
        self, connection: int, *, is_slow: bool, is_urgent: bool
    ) -> tuple[Job, ...]:
        with self._lock:
            # By subtracting, so that a connection without jobs is in neither.
            self._busy -= Counter([connection])
            if not is_urgent:
                self._reading -= Counter([connection])
            if is_slow:
                self._slow.add(connection)
            else:
                self._slow.discard(connection)
            # Two, so that a connection which is fast again gets all its slots back; the
            # second one reads.
            found: list[Job] = []
            for order in ((True, False), (False, True)):
                queues = [self._queued.get((connection, urgent)) for urgent in order]
                queued = next(filter(None, queues), None)
                if queued:
                    found.append(queued.popitem(last=False)[0])
            return tuple(found)
