"""The Celery tasks of the mirror, and the slots in which tasks that call MultiMail run.

The slots divide this process's threads among the connections, so that a connection that
is slow or down does not hold up the others. A task that gets no slot does not wait in a
thread: it is queued, and sent again when a slot of its connection is free. The periodic
sweep finds tasks that are lost with the process.

Each task imports the function that it runs inside its body, because these functions
import this module to send tasks.
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

# A task, and the key of the row that it is about.
Job = tuple[Any, int]

# How many threads stay free for connections that have no job running yet.
KEPT_FREE = 3
# If a job took this many seconds, its connection gets only two slots, one to read and
# one to decide, until a job is fast again.
SLOW = 5.0
WHEN_SLOW = 2
# How many slots a failing connection gets.
WHEN_FAILING = 1
# How many jobs of a connection are queued. The sweep finds the others.
MAX_QUEUED = 1000


class ConnectionSlots:
    """The slots of all connections in one process, which has this many threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._lock = threading.Lock()
        self._busy = Counter[int]()
        self._reading = Counter[int]()
        self._slow: set[int] = set()
        self._queued = defaultdict[tuple[int, bool], OrderedDict[Job, None]](
            OrderedDict
        )

    @contextmanager
    def enter(
        self,
        connection: int,
        job: Job,
        *,
        is_well: bool,
        is_urgent: bool,
        is_long: bool = False,
    ) -> Iterator[list[Job] | None]:
        """Take a slot while the block runs; or queue the job and yield None.

        With a slot, it yields a list that is empty at first. When the block has ended,
        the list has the queued jobs to send again. Urgent jobs (decisions) come before
        others, which never take more than half of the slots.
        """
        freed: list[Job] | None = None
        with self._lock:
            if self._is_free(connection, is_well, is_urgent):
                freed = []
                self._busy[connection] += 1
                if not is_urgent:
                    self._reading[connection] += 1
            # A job of this connection is running. When it ends, this one is sent again.
            elif len(queued := self._queued[connection, is_urgent]) < MAX_QUEUED:
                queued[job] = None
        began = time.monotonic()
        try:
            yield freed
        finally:
            if freed is not None:
                is_fast = time.monotonic() - began <= SLOW
                with self._lock:
                    # Subtracting removes connections without jobs from the counters.
                    self._busy -= Counter([connection])
                    if not is_urgent:
                        self._reading -= Counter([connection])
                    if is_fast:
                        self._slow.discard(connection)
                    elif not is_long:
                        self._slow.add(connection)
                    # Two jobs are sent, so that a connection that is fast again gets
                    # back more slots: first an urgent one, then another one.
                    for first in (True, False):
                        queued = self._queued[connection, first]
                        queued = queued or self._queued[connection, not first]
                        if queued:
                            freed.append(queued.popitem(last=False)[0])

    def _is_free(self, connection: int, is_well: bool, is_urgent: bool) -> bool:
        # Whether a slot is free for one more job of this connection.
        busy = self._busy[connection]
        if not busy:
            return True
        most = self.threads - KEPT_FREE
        if sum(self._busy.values()) >= most:
            return False
        if not is_well:
            most = WHEN_FAILING
        elif connection in self._slow:
            most = WHEN_SLOW
        if not is_urgent:
            # One read can always run, however many decisions are due, because only a
            # read shows whether the connection is healthy.
            return self._reading[connection] < (max(1, most // 2) if busy < most else 1)
        return busy < most


# --- Tasks ----------------------------------------------------------------------------


# A worker replaces the number of threads by its own.
SLOTS = ConnectionSlots(threads=8)


def connection_task(
    row: str, *, is_urgent: bool = False, is_long: bool = False
) -> Callable[[Callable[[int], str]], Any]:
    """Decorate a function to make it a task about one row, whose key it takes. `row` is
    the path from a connection to the row, such as "messages__files".

    The task runs in a slot of the row's connection. If none is free it ends, and is
    sent again when there is one. That a task which `is_long` takes long does not mean
    that the connection is slow.
    """

    def task_of(command: Callable[[int], str]) -> Any:
        @shared_task(base=AfterCommitTask)
        @wraps(command)
        def task(row_id: int) -> str:
            connection = (
                Connection.objects.filter(**{row: row_id}).only("failing_since").first()
            )
            if not connection:
                return "gone"
            is_well = not connection.failing_since
            try:
                with SLOTS.enter(
                    connection.pk,
                    (task, row_id),
                    is_well=is_well,
                    is_urgent=is_urgent,
                    is_long=is_long,
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
    """Read the thread of a message that somebody opened, unless it was just read."""
    from mirror import threads

    return threads.freshen_thread(message_id)


@shared_task(base=AfterCommitTask)
def forget() -> str:
    """Delete webhooks, bytes of files, renderings and threads whose retention time is
    over, a limited number in each run.
    """
    from mirror.attachments.parsed import drop_old_renderings
    from mirror.sync import retention

    drop_old_renderings()
    return f"{' + '.join(map(str, retention.forget().values()))} forgotten"
