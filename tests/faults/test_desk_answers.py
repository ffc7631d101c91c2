"""MultiMail's answer to a decision is lost, late, wrong or unreadable: doubt is shown, and ended by reading only."""

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, WEBHOOK

pytestmark = pytest.mark.xdist_group("desk-faults")

NOT_JSON = b"<html><title>502 Bad Gateway</title></html>"
COMMITTED = {
    "no byte of the answer": wire.lose_answer,
    "half of the answer": wire.truncate,
    "an answer without end": wire.endless,
    "500": wire.answering_after(500),
    "200 that is not JSON": wire.answering_after(200, NOT_JSON),
}
NOT_COMMITTED = {
    "connection cut": wire.cut_before,
    "500": wire.answering(500),
    "200 that is not JSON": wire.answering(200, NOT_JSON),
    "409 that names no outcome": wire.answering(409),
}


def in_doubt(desk, held):
    """Wait until the decision is in doubt, and see that the reviewer is told so."""
    decision = desk.wait_for_decision(held, "unknown")
    assert desk.ana.find(held.upstream_id, tab="unknown")["decision"] == "unknown"
    return decision


def without_webhooks(desk, held):
    """MultiMail tells nothing of this message any more: what becomes known was read."""
    return desk.hooks.fault(wire.answering(200), WEBHOOK, held.upstream_id)


def calls(desk, held):
    return len(desk.upstream.requests(DECIDE, held.upstream_id))


@pytest.mark.fault(
    1,
    injected="A proxy hands the call on and loses, halves or replaces MultiMail's answer; webhooks are lost too.",
    held="Shown as unknown, confirmed by reading the message by its id; no second call, one mail.",
)
@pytest.mark.parametrize("fault", COMMITTED.values(), ids=COMMITTED)
def test_answer_spoiled_after_commit_is_doubt_that_reading_ends(desk, fault):
    held = desk.hold()
    with without_webhooks(desk, held), desk.upstream.fault(fault, DECIDE, held.upstream_id):
        assert desk.decide(held) == 302
        doubted = in_doubt(desk, held)
        desk.let_settle(held)
        settled = desk.sweep_until(lambda: desk.wait_for_decision(held, "applied"), "the doubt to end")
        assert settled["id"] == doubted["id"]
        assert calls(desk, held) == 1
