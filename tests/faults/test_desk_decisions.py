"""A decision whose answer is spoiled: doubt is shown and settled by reads, and nothing is
sent twice.

Late answers, workers that stall and messages that change meanwhile are moves of
tests/promises/decision_machine.py.
"""

import contextlib

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

NOT_JSON = b"<html><title>502 Bad Gateway</title></html>"
# test_desk_main_faults tests the loss of the whole answer.
COMMITTED = {
    "half of the answer": wire.truncate,
    "an answer without end": wire.endless,
    "500 after": wire.answering_after(500),
    "200 after that is not JSON": wire.answering_after(200, NOT_JSON),
}
NOT_COMMITTED = {
    "connection cut": wire.cut_before,
    "500 before": wire.answering(500),
    "200 before that is not JSON": wire.answering(200, NOT_JSON),
    "409 that names no outcome": wire.answering(409),
}


def in_doubt(desk, held):
    """Wait until the decision is in doubt, and check that the reviewer sees that."""
    # On a slow machine a sweep may settle the doubt before it is seen; the ledger has
    # it.
    desk.wait(
        lambda: desk.entries(held, "decision.unknown"),
        f"the decision on {held.subject} to come into doubt",
    )
    shown = desk.ana.find(held.upstream_id, tab="unknown")
    decision = desk.decision(held)
    assert (shown and shown["decision"]) == "unknown" or decision["state"] != "unknown"
    return decision


def read_twice(desk, *messages):
    """Let two reads, a settle time apart, show that MultiMail still holds them, or end
    the doubt.
    """

    def seen_held():
        for held in messages:
            desk.let_settle(held)
        return all(
            decision["state"] != "unknown" or decision["seen_held"] >= 2
            for decision in map(desk.decision, messages)
        )

    desk.sweep_until(seen_held, "two reads that show what is held")


def test_spoiled_answer_is_doubt_and_reading_shows_whether_multimail_committed(desk):
    spoiled = COMMITTED | NOT_COMMITTED
    messages = {what: desk.hold() for what in spoiled}
    doubted = {}
    with contextlib.ExitStack() as faults:
        for what, held in messages.items():
            faults.enter_context(desk.without_webhooks(held))
            times = 1 if what in NOT_COMMITTED else 2
            faults.enter_context(
                desk.upstream.fault(
                    spoiled[what], DECIDE, held.upstream_id, times=times
                )
            )
            outcome = "approve" if what in COMMITTED else "reject"
            assert desk.decide(held, outcome, reason="Wrong customer") == 302
            doubted[what] = in_doubt(desk, held)
            assert (
                desk.email(held)["status"] == "pending_send_approval"
                or what in COMMITTED
            )
        read_twice(desk, *messages.values())
        for held in messages.values():
            desk.sweep_to(held, "applied")
    for what, held in messages.items():
        settled = desk.decision(held)
        calls = 1 if what in COMMITTED else 2
        assert settled["id"] == doubted[what]["id"], what
        assert settled["attempt"] == calls, what
        assert desk.calls(held) == calls, what
        assert len(desk.effects(held)) == 1, what
        assert "500" not in what or "500" in doubted[what]["explanation"]
