"""One read at a time for all who want one, and each gets one that began after they asked."""

import threading
import time

import pytest

from approvals.sync.coalesce import Coalesced, Late


class Slow:
    """Work that goes on until it is let go, and counts how often it ran and how many at once."""

    def __init__(self, error=None):
        self.gates: list[threading.Event] = []
        self.at_once = self.most = 0
        self.error = error
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            gate = threading.Event()
            self.gates.append(gate)
            number = len(self.gates)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert gate.wait(10)
        with self.lock:
            self.at_once -= 1
        if self.error:
            raise self.error
        return number


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def joining(shared):
    """Return a list that grows with everybody who has joined a run."""
    joined, join = [], shared._join
    shared._join = lambda not_before: joined.append(join(not_before)) or joined[-1]
    return joined


def ask(shared, work, results, **more):
    def run():
        try:
            results.append(shared.run(work, patience=10, **more))
        except ValueError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_who_comes_during_a_run_shares_the_next_one():
    shared, work, first, later = Coalesced(), Slow(), [], []
    threads = [ask(shared, work, first)]
    until(lambda: len(work.gates) == 1)
    threads += [ask(shared, work, later) for _ in range(5)]
    until(lambda: shared._next is not None)
    work.gates[0].set()
    until(lambda: len(work.gates) == 2)
    work.gates[1].set()
    for thread in threads:
        thread.join(10)
    # A thread that came to ask only after the second began gets a third; none gets the first.
    assert first == [1]
    assert set(later) <= {2, 3}
    assert work.most == 1


def test_run_that_began_late_enough_is_shared():
    shared, work, results = Coalesced(), Slow(), []
    wanted, joined = time.monotonic(), joining(shared)
    threads = [ask(shared, work, results)]
    until(lambda: len(work.gates) == 1)
    threads.append(ask(shared, work, results, not_before=wanted))
    until(lambda: len(joined) == 2)
    work.gates[0].set()
    for thread in threads:
        thread.join(10)
    assert results == [1, 1]


def test_error_reaches_everybody_and_the_next_run_begins_anew():
    shared, work, results = Coalesced(), Slow(ValueError("no")), []
    wanted, joined = time.monotonic(), joining(shared)
    threads = [ask(shared, work, results), ask(shared, work, results, not_before=wanted)]
    until(lambda: work.gates and len(joined) == 2)
    work.gates[0].set()
    for thread in threads:
        thread.join(10)
    assert [str(one) for one in results] == ["no", "no"]
    assert shared.run(lambda: "well", patience=1) == "well"


def test_nobody_waits_longer_than_they_can():
    shared, work = Coalesced(), Slow()
    thread = ask(shared, work, [])
    until(lambda: work.gates)
    with pytest.raises(Late):
        shared.run(work, patience=0.05)
    work.gates[0].set()
    thread.join(10)
    assert shared.run(lambda: "well", patience=1) == "well"
