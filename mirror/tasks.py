"""Celery's tasks of the mirror; each that asks MultiMail runs in a slot of its
connection.

The slots share this process's threads among the connections: one that is slow or down
must not hold up the others. A job without a slot does not wait in a thread: it is
queued, and sent again when a slot of its connection is free. The periodic sweep finds
jobs that are lost with the process. A task imports what it runs when it runs, so that
what it runs may send it.
"""

import threading
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from celery import shared_task

from common.tasks import AfterCommitTask
from mirror.models import Connection

# A task and its row.
Job = tuple[Any, int]

# Threads that one connection leaves to the others.
KEPT_FREE = 3
# A connection that took this many seconds gets two slots: one to read, one to decide.
SLOW = 5.0
WHEN_SLOW = 2
WHEN_FAILING = 1
MAX_QUEUED = 1000


class ConnectionSlots:
    """The slots of all connections in a process with so many threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._lock = threading.Lock()
        self._busy: Counter[int] = Counter()
        self._reading: Counter[int] = Counter()
        self._slow: set[int] = set()
        self._queued = defaultdict[tuple[int, bool], OrderedDict[Job, None]](
            OrderedDict
        )

    @contextmanager
    def enter(
        self, connection: int, job: Job, *, is_well: bool, is_urgent: bool
    ) -> Iterator[list[Job] | None]:
        """Take a slot for as long as the block runs, or queue the job and yield None.

        The list that is yielded has, when the block has ended, the queued jobs that may
        be sent again. Urgent jobs (decisions) come before others, which never take more
        than half of the slots.
        """
        freed: list[Job] | None = None
        with self._lock:
            if self._is_free(connection, is_well, is_urgent):
                freed = []
                self._busy[connection] += 1
                if not is_urgent:
                    self._reading[connection] += 1
            # Another job of this connection is running, and sends this one again when
            # it ends.
            elif len(queued := self._queued[connection, is_urgent]) < MAX_QUEUED:
                queued[job] = None
        began = time.monotonic()
        try:
            yield freed
        finally:
            if freed is not None:
                is_slow = time.monotonic() - began > SLOW
                with self._lock:
                    # By subtracting, so that a connection without jobs is in neither.
                    self._busy -= Counter([connection])
                    if not is_urgent:
                        self._reading -= Counter([connection])
                    if is_slow:
                        self._slow.add(connection)
                    else:
                        self._slow.discard(connection)
                    # Two, so that a connection which is fast again gets all its slots
                    # back; the second one reads.
                    for first in (True, False):
                        queued = self._queued[connection, first]
                        queued = queued or self._queued[connection, not first]
                        if queued:
                            freed.append(queued.popitem(last=False)[0])

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


# --- Tasks ----------------------------------------------------------------------------


# The worker sets how many threads it has.
SLOTS = ConnectionSlots(threads=8)


def connection_task(
    row: str, *, is_urgent: bool = False
) -> Callable[[Callable[[int], str]], Any]:
    """Make a task about one row, which a filter of connections by `row` finds.

    It runs in a slot of that connection. Without a free one it ends, and is sent again
    when there is one.
    """

    def task_of(command: Callable[[int], str]) -> Any:
        @shared_task(base=AfterCommitTask)
        @wraps(command)
        def task(row_id: int) -> str:
            connection = (
                Connection.objects.filter(**{row: row_id}).only("failing_since").first()
            )
            if connection is None:
                return "gone"
            is_well = connection.failing_since is None
            try:
                with SLOTS.enter(
                    connection.pk, (task, row_id), is_well=is_well, is_urgent=is_urgent
                ) as freed:
                    return "no room now" if freed is None else command(row_id)
            finally:
                for waiting, key in freed or ():
                    waiting.delay_on_commit(key)

        return task

    return task_of


@connection_task("pk")
def survey(connection_id: int) -> str:
    """Ask MultiMail what it can do at one connection."""
    from mirror.sync import account

    return account.learn(connection_id)


@connection_task("pk")
def read_account(connection_id: int) -> str:
    """Read the mailboxes, contacts and suppressed addresses of one connection."""
    from mirror.sync import account

    reads = (account.read_mailboxes, account.read_contacts, account.read_suppressed)
    return ", ".join(read(connection_id) or "read" for read in reads)


@shared_task(base=AfterCommitTask)
def read_accounts() -> str:
    """Send `read_account` for each healthy connection."""
    read_account.delay_each(Connection.objects.to_read().values_list("pk", flat=True))
    return "sent"


@connection_task("messages__files")
def fetch_file(file_id: int) -> str:
    """Fetch one attached file."""
    from mirror.attachments import fetch

    return fetch.fetch_file(file_id)


@connection_task("mailboxes__threads")
def read_thread(thread_id: int) -> str:
    """Read one thread."""
    from mirror import threads

    return threads.read_thread(thread_id)


@connection_task("messages")
def freshen_thread(message_id: int) -> str:
    """Read the thread of a message that somebody opened, if that was not done a moment
    ago.
    """
    from mirror import threads

    return threads.freshen_thread(message_id)


@shared_task(base=AfterCommitTask)
def forget() -> str:
    """Delete old webhooks, bytes of old files, renderings and old threads, a few at a
    time.
    """
    from mirror.attachments.parsed import drop_old_renderings
    from mirror.sync import retention

    drop_old_renderings()
    return f"{' + '.join(map(str, retention.forget().values()))} forgotten"
