"""Each connection has its own health: one that accepts calls and never answers does not block another."""

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.functions import Now

from approvals import tasks
from approvals.models import Decision
from common.tasks import AfterCommitTask
from mirror.models import Connection, Message
from mirror.sync.connection_slots import ConnectionSlots
from tests.factories import make_connection, make_message, pending_row
from tests.integration.deciding import decide
from tests.serving import named
from tests.stack import wait_for
from tests.standin import multimail

THREADS, LONG = 8, 120


class Silent:
    """Accepts connections and never answers; counts the open ones."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.waiting: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.waiting.append(self.listener.accept()[0])

    def end(self):
        self.listener.close()
        for one in self.waiting:
            one.close()


class Pool:
    """The worker's threads, fed from one queue: tasks go to it as wake-ups go to Celery."""

    def __init__(self):
        self.executor = ThreadPoolExecutor(THREADS)
        self.failures: list[BaseException] = []
        self.is_over = False

    def send(self, task, row_id):
        if not self.is_over:
            self.executor.submit(self._run, task, row_id)

    def _run(self, task, row_id):
        try:
            task(row_id)
        except BaseException as error:
            self.failures.append(error)
            raise
        finally:
            connections.close_all()


@pytest.fixture
def pool(monkeypatch):
    made = Pool()
    monkeypatch.setattr("mirror.tasks.SLOTS", ConnectionSlots(THREADS))
    monkeypatch.setattr(
        AfterCommitTask, "apply_async_on_commit", lambda task, args, kwargs=None, **_: made.send(task, *args)
    )
    # Calls to the silent server hang until the test ends them, on a busy machine too.
    for limit in ("wire.SILENCE_TIMEOUT", "client.TOTAL_TIMEOUT", "client.WHOLE_TIMEOUT"):
        monkeypatch.setattr(f"upstream.{limit}", 300.0)
    yield made
    made.is_over = True
    made.executor.shutdown(wait=True, cancel_futures=True)
    assert not made.failures


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_connection_that_never_answers_does_not_use_up_the_threads_of_others(pool, reviewer):
    silent = Silent()
    with multimail() as upstream, named(silent.url):
        try:
            slow = make_connection("slow", api_url=silent.url)
            well = make_connection("well", api_url=upstream.url)
            stuck = [make_message(slow, hydrated=False) for _ in range(THREADS + 2)]
            fresh, decided = ([make_message(well, hydrated=is_read) for _ in range(4)] for is_read in (False, True))
            upstream.holds(*[pending_row(one.upstream_id) for one in (*fresh, *decided)])
            upstream.decides(200, status="approved_and_sent", decision="approved")
            decisions = [decide(one, reviewer).decision for one in decided]
            Decision.objects.update(due_at=Now() - timedelta(seconds=1))
            # The tasks of the slow connection are queued first, and there are more of them than threads.
            for task, rows in ((tasks.hydrate, stuck), (tasks.hydrate, fresh), (tasks.execute_decision, decisions)):
                for one in rows:
                    pool.send(task, one.pk)
            applied, read = Decision.objects.filter(state="applied"), Message.objects.exclude(hydrated_at=None)
            wait_for(lambda: applied.count() == 4, LONG, "decisions")
            wait_for(lambda: read.filter(connection=well).count() == 8, LONG, "contents")
            # Meanwhile the calls to the slow server were hanging: none of them had ended.
            assert silent.waiting
            assert len(silent.waiting) <= (THREADS - 3) // 2
            assert not Connection.objects.exclude(failing_since=None).exists()
            assert len(upstream.decisions) == 4
        finally:
            silent.end()
    wait_for(lambda: Connection.objects.get(slug="slow").failing_since, LONG, "the slow one known as failing")
