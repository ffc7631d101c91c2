"""One read at a time for all who want one, and each gets one that began after they
asked.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mirror.sync.reads import SharedRead
from upstream.errors import NotSent

# For what comes in the end, on a machine however busy.
PATIENCE = 60


class Slow:
    """Work that goes on until it is let go, and counts how often it ran and how many at
    once.
    """

    def __init__(self):
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.runs = self.at_once = self.most = 0

    def __call__(self):
        self.runs = self.runs + 1
        self.at_once = self.at_once + 1
        self.most = max(self.most, self.at_once)
        number = self.runs
        self.began.release()
        assert self.may_end.acquire(timeout=PATIENCE)
        self.at_once -= 1
        return number


class Watched(SharedRead):
    """Lets a test wait until so many have asked for a run."""

    def __init__(self):
        super().__init__()
        self._lock, self._turn = self._turn, self
        self.joined = threading.Semaphore(0)
        self.release = self._lock.release

    def acquire(self, timeout):
        self.joined.release()
        return self._lock.acquire(timeout=timeout)

    def wait_for(self, number):
        assert all(self.joined.acquire(timeout=PATIENCE) for _ in range(number))


@pytest.fixture
def asks():
    """Return a function with which one more thread asks for the work."""
    with ThreadPoolExecutor(8) as pool:
        yield lambda shared, work: pool.submit(shared.run, work, patience=PATIENCE)


def test_who_comes_during_a_run_shares_the_next_one(asks):
    shared = Watched()
    work = Slow()
    first = asks(shared, work)
    assert work.began.acquire(timeout=PATIENCE)
    later = [asks(shared, work) for _ in range(5)]
    shared.wait_for(6)
    work.may_end.release(2)
    assert first.result() == 1
    assert [one.result() for one in later] == [2] * 5
    assert work.most == 1


def test_nobody_waits_longer_than_they_can(asks):
    shared = Watched()
    work = Slow()
    first = asks(shared, work)
    assert work.began.acquire(timeout=PATIENCE)
    with pytest.raises(NotSent):
        shared.run(work, patience=0.05)
    work.may_end.release()
    assert first.result() == 1
    assert shared.run(lambda: "well", patience=PATIENCE) == "well"
