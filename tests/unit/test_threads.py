"""The pool of threads: idle ones end, and nothing that was submitted is lost."""

import threading
from concurrent.futures import wait

import pytest

from common import threads
from common.threads import LastUsedExecutor


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """The threads that closed their database connections."""
    seen = []
    monkeypatch.setattr(
        threads.connections,
        "close_all",
        lambda: seen.append(threading.current_thread()),
    )
    return seen


def test_calls_beyond_the_limit_wait_in_order_and_all_are_done():
    pool = LastUsedExecutor(2, "test")
    gate = threading.Event()
    done = []
    first = [pool.submit(gate.wait, 5) for _ in range(2)]
    # A call that fails is told to whoever waits, and costs no thread.
    failed = pool.submit(int, "x")
    for number in range(20):
        pool.submit(done.append, number)
    assert len(pool.threads) == 2
    gate.set()
    wait(first, 5)
    assert isinstance(failed.exception(5), ValueError)
    pool.shutdown()
    assert sorted(done) == list(range(20))


def test_idle_thread_ends_with_its_connection_and_the_pool_goes_on(closed):
    pool = LastUsedExecutor(1, "test", idle_seconds=0)
    used = set()
    for _ in range(200):
        # Some of these come just as the thread ends.
        used.add(pool.submit(threading.current_thread).result(5))
    pool.shutdown()
    for thread in used:
        thread.join(5)
    assert set(closed) == used
