"""The pool of threads: the last used one works next, idle ones close their connection,
and nothing that was submitted is lost.
"""

import threading
from concurrent.futures import wait

from common import threads
from common.threads import LastUsedExecutor


def test_calls_beyond_the_limit_wait_in_order_and_all_are_done():
    pool = LastUsedExecutor(2, "test")
    gate = threading.Event()
    done = []
    first = [pool.submit(gate.wait, 5) for _ in range(2)]
    # A call that fails is told to whoever waits, and costs no thread.
    failed = pool.submit(int, "x")
    for number in range(20):
        pool.submit(done.append, number)
    assert len(pool._threads) == 2
    gate.set()
    wait(first, 5)
    assert isinstance(failed.exception(5), ValueError)
    pool.shutdown()
    assert sorted(done) == list(range(20))


def test_idle_thread_closes_its_connection_and_the_pool_goes_on(monkeypatch):
    closed = threading.Event()
    monkeypatch.setattr(threads.connections, "close_all", closed.set)
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.01)
    pool = LastUsedExecutor(1, "test")
    used = {pool.submit(threading.current_thread).result(5)}
    assert closed.wait(5)
    for _ in range(200):
        # Some of these come just as the thread gives up its connection.
        used.add(pool.submit(threading.current_thread).result(5))
    pool.shutdown()
    assert len(used) == 1
