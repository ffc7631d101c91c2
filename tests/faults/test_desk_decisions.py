"""A decision whose answer is lost, late or wrong, whose message changes, or whose worker
stalls: doubt is shown and settled by reads, and nothing is sent twice.
"""

import contextlib
import os
import signal

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

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


def test_late_answer_is_doubt_that_a_webhook_ends(desk):
    messages = [desk.hold() for _ in range(2)]
    lease_ends = wire.Hold()
    limit_ends = wire.Hold()
    with contextlib.ExitStack() as faults:
        for held, fault in zip(messages, (lease_ends, limit_ends), strict=True):
            faults.enter_context(desk.upstream.fault(fault, DECIDE, held.upstream_id))
        for held in messages:
            assert desk.decide(held) == 302
        lease_ends.wait()
        # The worker is still waiting; its lease ends first.
        desk.let_lease_end(messages[0])
        desk.sweep_to(messages[0], "unknown")
        doubted = {held: in_doubt(desk, held) for held in messages}
        lease_ends.release()
        limit_ends.release()
        for held in messages:
            desk.wait_for_decision(held, "applied")
    for held, before in doubted.items():
        settled = desk.decision(held)
        assert settled["id"] == before["id"]
        assert settled["attempt"] == 1
        assert desk.calls(held) == 1


def edit(desk, held):
    """Change the content at MultiMail, as its own editor would."""
    text = "Hello Dana, please pay to another account."
    change = "UPDATE gateway_email SET markdown = %s, html = NULL WHERE id = %s"
    desk.sql(change, text, held.upstream_id)


def cancel(desk, held):
    answer = desk.product.call(
        "POST", "/v1/cancel_message", json={"message_id": held.upstream_id}
    )
    assert answer.status_code == 200, answer.text


def changed(desk, held):
    """Wait until the desk has read the change, and return the new fingerprint."""
    return desk.wait(
        lambda: (
            (now := desk.fetched(held.upstream_id)["fingerprint"]) != held.fingerprint
            and now
        ),
        "the change",
    )


def test_edit_or_cancel_before_the_call_ends_the_decision(desk):
    edited = {moment: desk.hold() for moment in (READ, DECIDE)}
    cancelled = {moment: desk.hold() for moment in (READ, DECIDE)}
    for act, messages in ((edit, edited), (cancel, cancelled)):
        for moment, held in messages.items():
            stop = wire.Hold()
            with desk.upstream.fault(stop, moment, held.upstream_id, times=1):
                assert desk.decide(held) == 302
                stop.wait()
                act(desk, held)
                stop.release()
    for moment, held in edited.items():
        desk.wait_for_decision(held, "refused")
        assert desk.calls(held) == (moment == DECIDE)
        assert desk.effects(held) == []
    for held in cancelled.values():
        assert (
            "withdrawn by its sender"
            in desk.sweep_to(held, "superseded")["explanation"]
        )
        desk.wait_for_message(held, "cancelled")
    desk.reconcile()
    for held in edited.values():
        now = changed(desk, held)
        assert "another account" in desk.ana.get(f"/queue/{held.id}/").text
        assert desk.ana.decide(held.id, "reject", now, "Not ours").status_code == 302
        desk.wait_for_decision(held, "applied")


@contextlib.contextmanager
def stopped(desk):
    """SIGSTOP to the product's worker, and SIGCONT in the end."""
    desk.other_worker("approvals.tasks.sweep")
    pid = desk.stack.kill("worker-desk", signal.SIGSTOP)
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
