"""One fault of each main family: a lost answer, a dead worker and lost webhooks.

The other files test_desk_*.py tell each family whole, with --all; a dead database, an
empty Redis and repeated webhooks are in test_soak.py.
"""

import contextlib

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, LIST, READ, WEBHOOK
from tests.faults.records import Held

pytestmark = pytest.mark.xdist_group("stack")


def applied(desk, *messages):
    """Return whether the decisions have taken effect, after enough time for a
    conclusive read.
    """
    for held in messages:
        desk.let_settle(held)
    return all(desk.decision(held)["state"] == "applied" for held in messages)


@pytest.mark.slow
def test_lost_answer_is_doubt_that_reading_ends(desk):
    held = desk.hold()
    with (
        desk.without_webhooks(held),
        desk.upstream.fault(wire.lose_answer, DECIDE, held.upstream_id),
    ):
        assert desk.decide(held) == 302
        doubted = desk.wait_for_decision(held, "unknown")
        shown = desk.ana.find(held.upstream_id, tab="unknown")
        # On a slow machine a sweep may have settled it meanwhile.
        assert shown or desk.decision(held)["state"] != "unknown"
        desk.let_settle(held)
        settled = desk.sweep_to(held, "applied")
    assert settled["id"] == doubted["id"]
    assert desk.calls(held) == 1
    assert settled["attempt"] == 1


# Point: what is held there, and how; whether a row lock then keeps the executor; what
# it must be taken for once the lease is over; how often it calls in all, and the
# attempt that counts.
POINTS = {
    "after the lease": (READ, {"then": wire.cut_before}, False, "recorded", 1, 2),
    "before the call": (READ, {"after_answer": True}, True, "recorded", 1, 2),
    "after the request is written": (
        DECIDE,
        {"then": wire.cut_before},
        False,
        "unknown",
        2,
        2,
    ),
    "after the request is handed on": (
        DECIDE,
        {"after_answer": True},
        False,
        "unknown",
        1,
        1,
    ),
    "after the answer, before the commit": (
        DECIDE,
        {"after_answer": True},
        True,
        "unknown",
        1,
        1,
    ),
}


def blocked_sessions(desk):
    return desk.sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


@contextlib.contextmanager
def executors_at_their_points(desk, messages):
    """Decide each message, and enter the block once its executor reaches its point;
    release all afterwards.
    """
    stops = {point: wire.Hold(**how) for point, (_, how, *_) in POINTS.items()}
    with contextlib.ExitStack() as faults, contextlib.ExitStack() as locks:
        for point, held in messages.items():
            # Outcomes come from reads: webhooks would arrive too early.
            faults.enter_context(desk.without_webhooks(held))
            faults.enter_context(
                desk.upstream.fault(
                    stops[point], POINTS[point][0], held.upstream_id, times=1
                )
            )
            assert desk.decide(held, "reject") == 302
        for stop in stops.values():
            stop.wait()
        locked = [point for point, (_, _, is_locked, *_) in POINTS.items() if is_locked]
        for point in locked:
            locks.enter_context(desk.lock(messages[point]))
            stops[point].release()
        desk.wait(
            lambda: len(blocked_sessions(desk)) >= len(locked),
            "the executors to wait for their rows",
        )
        yield locks
        for stop in stops.values():
            stop.release()
        for held in messages.values():
            decision = desk.decision(held)
            assert decision["state"] == "calling"
            assert decision["attempt"] == 1
            desk.let_lease_end(held)
        desk.sweep_until(
            lambda: applied(desk, *messages.values()), "every decision to end"
        )


def test_worker_killed_between_claim_and_answer_leaves_doubt_that_reading_ends(desk):
    messages = {point: desk.hold() for point in POINTS}
    with executors_at_their_points(desk, messages) as locks:
        desk.restart("worker-desk")
        # Including its open transactions, as when a host dies.
        for row in blocked_sessions(desk):
            desk.sql("SELECT pg_terminate_backend(%s)", row["pid"])
        locks.close()
    for point, (*_, becomes, expected_calls, attempt) in POINTS.items():
        held = messages[point]
        assert len(desk.entries(held, "decision.unknown")) == (becomes == "unknown"), (
            point
        )
        assert desk.calls(held) == expected_calls, point
        assert desk.decision(held)["attempt"] == attempt, point
        assert len(desk.effects(held)) == 1, point


def webhooks_of(desk, upstream_id):
    return {seen.request.body for seen in desk.hooks.requests(WEBHOOK, upstream_id)}


def test_reading_makes_up_for_webhooks_that_never_came(desk):
    still, approved, rejected = (desk.hold() for _ in range(3))
    with desk.hooks.fault(wire.answering(200), WEBHOOK):
        upstream_id, subject = desk.product.send()
        desk.wait(lambda: webhooks_of(desk, upstream_id), "the webhook, which is lost")
        desk.wait(
            lambda: (
                desk.email(Held(upstream_id, "", "", ""))["status"]
                == "pending_send_approval"
            ),
            "the gate",
        )
        # An empty list closes nothing that MultiMail itself reports as held.
        empty = wire.answering(
            200, b'{"pending": [], "count": 0}', X_Countersign_Gateway="1"
        )
        with desk.upstream.fault(empty, LIST) as lists:
            desk.reconcile()
            lists.wait()
            desk.wait_for_idle()
        assert (
            desk.sql("SELECT 1 FROM mirror_message WHERE upstream_id = %s", upstream_id)
            == []
        )
        assert desk.message(still)["state"] == "held"
        assert desk.entries(still, "message.gone") == []
        assert desk.decide_elsewhere(approved, "approve").status_code == 200
        assert desk.decide_elsewhere(rejected, "reject").status_code == 200
        desk.reconcile()
        new = desk.shown(upstream_id, subject)
        desk.wait_for_message(rejected, "rejected")
        desk.wait_for_message(
            approved, "scheduled_approved", "approved", "sent", "delivered"
        )
    [entry] = desk.entries(new, "message.held")
    assert "no webhook" in entry["details"]["found"]
    for held in (approved, rejected):
        assert desk.ana.find(held.upstream_id) is None
        assert "decided elsewhere" in desk.message(held)["upstream_reason"]
    desk.wait(
        lambda: not desk.connection()["failing_since"], "the connection to be well"
    )
    assert desk.decide(new) == 302
    desk.wait_for_decision(new, "applied")
