"""One fault of each main family. The ordinary run has a lost answer, a dead worker and
lost webhooks; with --all also a dead database and an empty Redis.

The other files test_desk_*.py tell each family whole, with --all.
"""

import contextlib
import signal

import psycopg
import pytest
import requests

from tests.faults import wire
from tests.faults.proxy import DECIDE, LIST, READ, WEBHOOK
from tests.faults.records import Held
from tests.faults.sender import Sender, assert_stored_once

pytestmark = pytest.mark.xdist_group("stack")


def applied(desk, *messages):
    """Return whether the decisions have taken effect, after enough time for a
    conclusive read.
    """
    for held in messages:
        desk.let_settle(held)
    return all(desk.decision(held)["state"] == "applied" for held in messages)


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


def insist(desk, held, outcome="approve"):
    """Decide as a person does who sees error pages: retry until a decision exists."""

    def decided():
        with contextlib.suppress(requests.RequestException, psycopg.Error):
            if decision := desk.decision(held):
                return decision
            with contextlib.suppress(AssertionError, KeyError):
                desk.decide(held, outcome)
        return None

    return desk.wait(decided, f"a decision on {held.subject}")


@pytest.mark.slow
def test_postgresql_killed_under_load_loses_nothing_that_was_acknowledged(desk):
    sender = Sender.of(desk)
    before, between, after = (desk.hold() for _ in range(3))
    with sender.traffic() as accepted:
        desk.wait(lambda: len(accepted) > 4, "traffic")
        assert desk.decide(before) == 302
        desk.restart("postgres")
        insist(desk, between, "reject")
        seen = len(accepted)
        desk.wait(lambda: len(accepted) > seen + 4, "traffic after the crash")
        desk.stack.kill("postgres", signal.SIGQUIT)
        insist(desk, after)
        seen = len(accepted)
        desk.wait(
            lambda: len(accepted) > seen + 4, "traffic after the immediate shutdown"
        )
    assert_stored_once(desk, accepted)
    assert {status for _, status in sender.answers} <= {200, 503}

    desk.bring_to_end(before, between, after)
    assert [desk.decision(held)["outcome"] for held in (before, between, after)] == [
        "approve",
        "reject",
        "approve",
    ]


@pytest.mark.slow
def test_redis_emptied_of_all_wake_ups_loses_and_doubles_nothing(desk):
    messages = [desk.hold() for _ in range(2)]
    desk.stack.kill("worker-desk", signal.SIGSTOP)
    try:
        sent = desk.send()
        assert [desk.decide(held) for held in messages] == [302] * 2
        desk.wait(
            lambda: desk.sql(
                "SELECT 1 FROM mirror_message WHERE upstream_id = %s", sent[0]
            ),
            "the webhook",
        )
        desk.redis.flushall()
        assert desk.ana.get("/queue/").status_code == 200
    finally:
        desk.stack.kill("worker-desk", signal.SIGCONT)
    for held in messages:
        desk.wait_for_decision(held, "applied")
    desk.shown(*sent)
    assert [desk.calls(held) for held in messages] == [1] * 2
    # Redis forgot the worker's tasks, which are never acknowledged.
    desk.give_up_unacked()


def webhooks_of(desk, upstream_id):
    return {seen.request.body for seen in desk.hooks.requests(WEBHOOK, upstream_id)}


def test_reading_makes_up_for_webhooks_that_never_came(desk):
    still, approved, rejected = (desk.hold() for _ in range(3))
    with desk.hooks.fault(wire.answering(200), WEBHOOK):
        upstream_id, subject = desk.send()
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


@pytest.mark.slow
def test_every_answer_to_a_decide_call_ends_in_the_right_state(desk):
    decided, twice, theirs, gone, refused = messages = [desk.hold() for _ in range(5)]
    call = wire.Hold()
    faults = {
        twice: wire.deliver_twice,
        theirs: call,
        gone: wire.answering(404),
        refused: wire.answering(422),
    }
    with contextlib.ExitStack() as stack:
        for held in messages:
            stack.enter_context(desk.without_webhooks(held))
        for held, fault in faults.items():
            stack.enter_context(
                desk.upstream.fault(fault, DECIDE, held.upstream_id, times=1)
            )
        for held in messages:
            assert desk.decide(held, "reject", reason="No such order") == 302
        call.wait()
        assert desk.decide_elsewhere(theirs, "approve").status_code == 200
        call.release()
        for held, state in zip(
            messages,
            ("applied", "applied", "superseded", "refused", "refused"),
            strict=True,
        ):
            desk.wait_for_decision(held, state)
        # It does not wait for the lost webhook, nor for the next whole read.
        assert desk.ana.find(decided.upstream_id) is None
        assert desk.ana.find(decided.upstream_id, "leaving") is not None
        assert desk.entries(gone, "message.gone")
        desk.reconcile()
        for held, states in (
            (decided, ["rejected"]),
            (theirs, ["scheduled_approved", "approved", "sent", "delivered"]),
        ):
            desk.wait_for_message(held, *states)
        for held in (gone, refused):
            desk.wait_for_message(held, "held")
            assert desk.decide(held, "reject") == 302
            desk.wait_for_decision(held, "applied")
    [doubled] = desk.upstream.reached(DECIDE, twice.upstream_id)
    assert doubled.status == 409
    assert desk.decision(twice)["attempt"] == 1
    first, _ = desk.decisions(refused)
    assert "422: Said by the proxy." in first["explanation"]
    assert desk.email(decided)["decision_reason"].startswith(
        "No such order (Ana Ferreira via Countersign, reference "
    )
    assert "approved" in desk.decision(theirs)["explanation"]
    assert "outside this desk" in desk.ana.get(f"/queue/{theirs.id}/").text
