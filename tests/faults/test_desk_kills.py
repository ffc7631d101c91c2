"""The worker that carries decisions out is killed at named points: doubt where a call may have left, and no hand."""

import contextlib

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ, WEBHOOK

pytestmark = pytest.mark.xdist_group("desk-faults")

# Point: what the desk must hold it for once the lease is over, how often it calls in all, and the attempt that counts.
POINTS = {
    "after the lease": ("recorded", 1, 2),
    "before the call": ("recorded", 1, 2),
    "after the request is written": ("unknown", 2, 2),
    "after the request is handed on": ("unknown", 1, 1),
    "after the answer, before the commit": ("unknown", 1, 1),
}


def calls(desk, held):
    return len(desk.upstream.requests(DECIDE, held.upstream_id))


def blocked_backends(desk):
    """The sessions of PostgreSQL that wait for a lock."""
    return desk.sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


class Stops:
    """Decisions, each stopped at another point on its way, in one worker."""

    def __init__(self, desk, stack):
        self.desk, self.stack = desk, stack
        self.stops: list[wire.Hold] = []
        self.held = {point: desk.hold() for point in POINTS}
        for held in self.held.values():
            # What becomes known is read: webhooks would tell too soon.
            stack.enter_context(desk.hooks.fault(wire.answering(200), WEBHOOK, held.upstream_id))
        self.locks = contextlib.ExitStack()

    def fault(self, point, fault, kind):
        self.stack.enter_context(self.desk.upstream.fault(fault, kind, self.held[point].upstream_id, times=1))
        self.stops.append(fault)

    def reach(self, point):
        """Decide the message of this point, and return once its executor stands there."""
        kind, stop, is_blocked = {
            "after the lease": (READ, wire.Hold(then=wire.cut_before), False),
            "before the call": (READ, wire.Hold(after_answer=True), True),
            "after the request is written": (DECIDE, wire.Hold(then=wire.cut_before), False),
            "after the request is handed on": (DECIDE, wire.Hold(after_answer=True), False),
            "after the answer, before the commit": (DECIDE, wire.Hold(after_answer=True), True),
        }[point]
        held = self.held[point]
        self.fault(point, stop, kind)
        assert self.desk.decide(held, "reject") == 302
        stop.wait()
        if is_blocked:
            self._block(held, stop)

    def _block(self, held, stop):
        """Hold the decision's row, let the answer through, and wait until the executor stands at that lock."""
        before = len(blocked_backends(self.desk))
        self.locks.enter_context(self.desk.lock(held))
        stop.release()
        self.desk.wait(lambda: len(blocked_backends(self.desk)) > before, "the executor to wait for its row")

    def die(self):
        """Kill the worker, with all that it has begun in the database: so it is when a host dies."""
        self.desk.restart("worker-desk")
        for row in blocked_backends(self.desk):
            self.desk.sql("SELECT pg_terminate_backend(%s)", row["pid"])
        self.locks.close()
        for stop in self.stops:
            stop.release()


@pytest.fixture(scope="module")
def killed(shared_desk):
    """One SIGKILL while five decisions stand at five points; the desk's clock then passes their leases."""
    with contextlib.ExitStack() as stack:
        stops = Stops(shared_desk, stack)
        for point in POINTS:
            stops.reach(point)
        stops.die()
        for held in stops.held.values():
            decision = shared_desk.decision(held)
            assert (decision["state"], decision["attempt"]) == ("calling", 1)
            shared_desk.let_lease_end(held)

        def noticed():
            return all(shared_desk.decision(held)["state"] != "calling" for held in stops.held.values())

        shared_desk.sweep_until(noticed, "the leases that are over to be noticed")
        yield stops.held


@pytest.mark.proves("case 6")
@pytest.mark.fault(
    13,
    injected="SIGKILL to the worker while executors stand at five points, held there by the proxy and by row locks.",
    held="Where a call may have left: unknown, ended by reading; elsewhere it goes again by itself. One effect each.",
)
@pytest.mark.parametrize("point", POINTS)
def test_worker_killed_between_claim_and_answer_leaves_doubt_that_reading_ends(desk, killed, point):
    becomes, expected_calls, attempt = POINTS[point]
    held = killed[point]
    desk.mine.append(held)
    assert len(desk.entries(held, "decision.unknown")) == (becomes == "unknown")

    def applied():
        desk.let_settle(held)
        return desk.decision(held)["state"] == "applied"

    desk.sweep_until(applied, "the decision to end")
    assert (calls(desk, held), desk.decision(held)["attempt"]) == (expected_calls, attempt)
    assert len(desk.effects(held)) == 1
