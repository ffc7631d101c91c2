"""A worker stalls past its lease: nothing is overwritten or sent twice."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from approvals.decisions.execute import FRESH_FOR
from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@contextlib.contextmanager
def stopped(desk):
    """SIGSTOP to the product's worker, and SIGCONT in the end."""
    desk.other_worker("approvals.tasks.sweep")
    pid = desk.stack.kill("worker-desk", signal.SIGSTOP)
    desk.note("test", "SIGSTOP", process="worker-desk")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def settle_by_another_worker(desk, held, *states):
    """Expire the lease, and run another worker until the decision is in one of these
    states.
    """
    desk.let_lease_end(held)

    def reached():
        desk.let_settle(held)
        desk.other_worker("approvals.tasks.sweep")
        return desk.decision(held)["state"] in states and desk.decision(held)

    return desk.wait(reached, f"another worker to bring {held.subject} to {states}")


def test_zombie_neither_calls_nor_overwrites_what_another_worker_found_out(desk):
    calling = desk.hold()
    reading = desk.hold()
    call = wire.Hold(after_answer=True)
    read = wire.Hold(after_answer=True)
    with (
        desk.without_webhooks(calling),
        desk.upstream.fault(call, DECIDE, calling.upstream_id),
        desk.upstream.fault(read, READ, reading.upstream_id, times=1),
    ):
        for held, stop in ((calling, call), (reading, read)):
            assert desk.decide(held) == 302
            stop.wait()
        with stopped(desk):
            settled = [
                settle_by_another_worker(desk, held, "applied")
                for held in (calling, reading)
            ]
            call.release()
            read.release()
        desk.sweep_through()
    assert [desk.decision(held) for held in (calling, reading)] == settled
    assert [entry["action"] for entry in desk.entries(calling)].count(
        "decision.unknown"
    ) == 1
    assert settled[1]["attempt"] == 2
    assert desk.calls(calling) == 1
    assert desk.calls(reading) == 1


def test_zombie_that_marked_its_call_does_not_call(desk):
    held = desk.hold()
    read = wire.Hold(after_answer=True)
    with (
        desk.without_webhooks(held),
        desk.upstream.fault(read, READ, held.upstream_id, times=1),
    ):
        assert desk.decide(held, "reject") == 302
        read.wait()
        with desk.lock(held) as lock:
            read.release()
            desk.wait(
                lambda: desk.sql(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                ),
                "the mark",
            )
            with stopped(desk):
                began = time.monotonic()
                lock.rollback()
                desk.wait(
                    lambda: desk.decision(held)["may_have_left"],
                    "the mark to be written",
                )
                settled = settle_by_another_worker(desk, held, "applied")
                desk.wait(
                    lambda: time.monotonic() - began > FRESH_FOR,
                    "the worker to have stood still too long",
                )
        desk.sweep_through()
    assert settled["attempt"] == 2
    assert desk.calls(held) == 1


@contextlib.contextmanager
def another_is_calling(desk, held, first):
    """Stop the worker that stands at `first`, and let another take over as far as its
    own call, which the proxy holds.

    Then the first gets its answer and wakes up, and has nothing more to do when the
    body begins.
    """
    call = wire.Hold()
    with (
        ThreadPoolExecutor(1) as pool,
        desk.upstream.fault(call, DECIDE, held.upstream_id, times=1),
    ):
        try:
            with stopped(desk):
                other = pool.submit(settle_by_another_worker, desk, held, "applied")
                call.wait()
                first.release()
            desk.sweep_through()
            yield
        finally:
            call.released.set()
        other.result(120)


def test_late_refusal_does_not_end_a_newer_attempt(desk):
    held = desk.hold()
    call = wire.Hold(then=wire.answering(422))
    with desk.upstream.fault(call, DECIDE, held.upstream_id, times=1):
        assert desk.decide(held, "reject") == 302
        call.wait()
        with another_is_calling(desk, held, call):
            assert desk.decision(held)["state"] == "calling"
            assert desk.decision(held)["attempt"] == 2
    assert desk.calls(held) == 2
