"""Several connections, each with its own health: one that accepts calls and never answers does not hold up another."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.db.models.functions import Now

from approvals import tasks
from approvals.decide import give_verdict
from approvals.models import Connection, Decision, Message
from approvals.sync.rooms import Rooms
from tests.factories import NOW, make_connection, make_message, make_person, pending_row
from tests.serving import named
from tests.standin import multimail

THREADS = 8


class Silent:
    """Accepts connections and never answers; counts those that wait."""

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
    """The worker's threads, fed from one queue: tasks go to it as nudges go to Celery."""

    def __init__(self):
        self.executor = ThreadPoolExecutor(THREADS)
        self.failures: list[BaseException] = []
        self.is_over = False

    def send(self, name, row_id, **_):
        if self.is_over:
            return
        self.executor.submit(self._run, getattr(tasks, name.rpartition(".")[2]), row_id)

    def _run(self, task, row_id):
        try:
            task(row_id)
        except BaseException as error:
            self.failures.append(error)
            raise
        finally:
            connections.close_all()


def until(condition, what):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def pool(monkeypatch):
    made = Pool()
    monkeypatch.setattr(tasks, "ROOMS", Rooms(THREADS))
    monkeypatch.setattr(tasks, "nudge", made.send)
    yield made
    made.is_over = True
    made.executor.shutdown(wait=True, cancel_futures=True)
    assert not made.failures


@pytest.mark.django_db(transaction=True)
def test_connection_that_never_answers_leaves_the_other_its_threads(pool):
    silent = Silent()
    with multimail() as upstream, named(silent.url):
        try:
            slow = make_connection("slow", api_url=silent.url)
            well = make_connection("well", api_url=upstream.url)
            person = make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")
            stuck = [make_message(slow, hydrated=False) for _ in range(20)]
            fresh = [make_message(well, hydrated=False) for _ in range(10)]
            decided = [make_message(well) for _ in range(10)]
            upstream.holds(*[pending_row(one.upstream_id) for one in (*fresh, *decided)])
            upstream.decides(200, status="approved_and_sent", decision="approved")
            decisions = [
                give_verdict(
                    message=one.public_id, actor=person.actor(surface="web"), outcome="approve",
                    fingerprint=one.revision.fingerprint, reason="", now=NOW,
                ).decision for one in decided
            ]  # fmt: skip
            Decision.objects.update(due_at=Now() - timedelta(seconds=1))
            # The slow one's work is queued before all of the other's, and there is more of it than there are threads.
            for one in stuck:
                pool.send("tasks.hydrate", one.pk)
            for one in fresh:
                pool.send("tasks.hydrate", one.pk)
            for one in decisions:
                pool.send("tasks.execute_decision", one.pk)
            until(lambda: not Decision.objects.exclude(state="applied").exists(), "decisions wait")
            until(lambda: not Message.objects.filter(connection=well, hydrated_at=None).exists(), "contents wait")
            # All that while the slow one's calls were hanging: none of them had come to an end.
            assert silent.waiting
            assert len(silent.waiting) <= (THREADS - 3) // 2
            assert not Connection.objects.exclude(failing_since=None).exists()
            assert len(upstream.decisions) == 10
        finally:
            silent.end()
    until(lambda: Connection.objects.get(slug="slow").failing_since, "the slow one is not known as failing")
