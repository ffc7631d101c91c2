"""MultiMail's answer to a decision is lost, late, wrong or unreadable: doubt is shown, and ended by reading only."""

import contextlib

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

NOT_JSON = b"<html><title>502 Bad Gateway</title></html>"
# That no byte comes back at all is told by test_desk_main_faults.
COMMITTED = {
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
    shown = desk.ana.find(held.upstream_id, tab="unknown")
    # On a slow machine a sweep may have found out meanwhile.
    assert (shown and shown["decision"]) == "unknown" or desk.decision(held)["state"] != "unknown"
    return decision


def read_twice(desk, held):
    """Let two reads, a settle time apart, show that MultiMail still holds the message."""

    def seen_held():
        desk.let_settle(held)
        return desk.decision(held)["state"] != "unknown" or desk.decision(held)["seen_held"] >= 2

    desk.sweep_until(seen_held, "two reads that show the message held")


@pytest.mark.fault(
    1,
    injected="A proxy hands the call on and loses, halves or replaces MultiMail's answer; webhooks are lost too.",
    held="Shown as unknown, confirmed by reading the message by its id; no second call, one mail.",
)
@pytest.mark.parametrize("fault", COMMITTED.values(), ids=COMMITTED)
def test_answer_spoiled_after_commit_is_doubt_that_reading_ends(desk, fault):
    held = desk.hold()
    with desk.without_webhooks(held), desk.upstream.fault(fault, DECIDE, held.upstream_id):
        assert desk.decide(held) == 302
        doubted = in_doubt(desk, held)
        desk.let_settle(held)
        settled = desk.sweep_to(held, "applied")
    assert settled["id"] == doubted["id"]
    assert (desk.calls(held), desk.decision(held)["attempt"]) == (1, 1)


@pytest.mark.fault(
    2,
    injected="A proxy cuts the connection, or answers 500 or nonsense, and MultiMail never sees the decide call.",
    held="Unknown until two reads showed it still held; then a reject goes out once more, as the same decision.",
)
@pytest.mark.parametrize("fault", NOT_COMMITTED.values(), ids=NOT_COMMITTED)
def test_reject_that_never_arrived_goes_out_again_after_two_reads(desk, fault):
    held = desk.hold()
    with desk.upstream.fault(fault, DECIDE, held.upstream_id, times=1):
        assert desk.decide(held, "reject", reason="Wrong customer") == 302
        doubted = in_doubt(desk, held)
    assert desk.email(held)["status"] == "pending_send_approval"
    read_twice(desk, held)
    settled = desk.sweep_to(held, "applied")
    assert (settled["id"], settled["attempt"], desk.calls(held)) == (doubted["id"], 2, 2)
    assert len(desk.effects(held)) == 1


@pytest.mark.fault(
    2,
    injected="As above, with an approve.",
    held="It stays held and unknown until the reviewer confirms; then one more call, and one mail.",
)
def test_approve_that_never_arrived_waits_for_a_person(desk):
    held = desk.hold()
    with desk.upstream.fault(wire.cut_before, DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        doubted = in_doubt(desk, held)
    read_twice(desk, held)
    desk.sweep()
    # A read asked for after the sweep has begun shows that the sweep is over.
    held_again = desk.hold()
    assert desk.decision(held)["state"] == "unknown"
    assert (desk.calls(held), desk.mails(held), held_again.id != held.id) == (1, 0, True)
    confirm(desk, held)
    settled = desk.wait_for_decision(held, "applied")
    assert (settled["id"], settled["attempt"], desk.calls(held)) == (doubted["id"], 2, 2)
    [entry] = desk.entries(held, "decision.confirmed")
    assert entry["actor_kind"] == "person"


def confirm(desk, held):
    """Confirm as the reviewer that the approval goes out again."""
    page = desk.ana.get(f"/queue/{held.id}/")
    assert f"/queue/{held.id}/send-again/" in page.text
    assert desk.ana.post(f"/queue/{held.id}/send-again/", page).status_code == 302
    desk.note("REVIEWER", "send again", upstream_id=held.upstream_id)


@pytest.mark.fault(
    3,
    injected="A proxy hands the decide call on only after the desk has given up waiting for the answer.",
    held="Unknown first; MultiMail's late webhook settles it, and no second call is made.",
)
def test_commit_long_after_the_desk_gave_up_is_told_by_webhook(desk):
    held = desk.hold()
    late = wire.Hold()
    with desk.upstream.fault(late, DECIDE, held.upstream_id):
        assert desk.decide(held) == 302
        late.wait()
        # The worker is still waiting; its lease ends first.
        desk.let_lease_end(held)
        desk.sweep_to(held, "unknown")
        doubted = in_doubt(desk, held)
        late.release()
    settled = desk.wait_for_decision(held, "applied")
    assert (settled["id"], settled["attempt"], desk.calls(held)) == (doubted["id"], 1, 1)


@pytest.mark.fault(
    3,
    injected="As above, with the desk's own time limit; at the same time an answer that comes byte by byte.",
    held="Each call ends within its whole time limit, in doubt; then as above.",
)
def test_slow_and_dripping_answers_end_within_the_time_limit(desk):
    slow, dripping = desk.hold(), desk.hold()
    late = wire.Hold()
    with contextlib.ExitStack() as faults:
        faults.enter_context(desk.upstream.fault(late, DECIDE, slow.upstream_id))
        faults.enter_context(desk.upstream.fault(wire.dripping(0.5), DECIDE, dripping.upstream_id))
        faults.enter_context(desk.without_webhooks(dripping))
        for held in (slow, dripping):
            assert desk.decide(held) == 302
        for held in (slow, dripping):
            in_doubt(desk, held)
        late.release()
        desk.wait_for_decision(slow, "applied")
        desk.let_settle(dripping)
        desk.sweep_to(dripping, "applied")
    assert (desk.calls(slow), desk.calls(dripping)) == (1, 1)


@pytest.mark.fault(
    4,
    injected="A proxy answers 500 to the decide call, after MultiMail has committed, or before it saw the call.",
    held="Both are unknown, never failed; reading tells them apart.",
)
def test_500_says_nothing_and_reading_tells_the_two_apart(desk):
    done, not_done = desk.hold(), desk.hold()
    with (
        desk.without_webhooks(done),
        desk.upstream.fault(wire.answering_after(500), DECIDE, done.upstream_id, times=1),
        desk.upstream.fault(wire.answering(500), DECIDE, not_done.upstream_id, times=1),
    ):
        for held in (done, not_done):
            assert desk.decide(held, "send_back", reason="Name the order") == 302
        for held in (done, not_done):
            assert "500" in in_doubt(desk, held)["explanation"]
        for held in (done, not_done):
            read_twice(desk, held)
            desk.sweep_to(held, "applied")
    assert (desk.calls(done), desk.calls(not_done)) == (1, 2)


@pytest.mark.fault(
    10,
    injected="A proxy gives an endless, truncated or unreadable answer to the read before the decide call.",
    held="Nothing is called on the strength of it; the decision goes once the read is whole.",
)
@pytest.mark.parametrize("name", ["endless", "truncated", "unreadable"])
def test_spoiled_read_before_the_call_keeps_the_decision(desk, name):
    fault = {"endless": wire.endless, "truncated": wire.truncate, "unreadable": wire.answering(200, NOT_JSON)}[name]
    held = desk.hold()
    with desk.upstream.fault(fault, "read", held.upstream_id) as met:
        assert desk.decide(held) == 302
        met.wait()
        postponed = desk.wait_for_decision(held, "recorded")
        desk.wait(lambda: desk.decision(held)["explanation"], "the decision to be put off")
        assert not desk.decision(held)["may_have_left"]
        assert desk.calls(held) == 0
    desk.let_fall_due(held)
    settled = desk.sweep_to(held, "applied")
    assert (settled["id"], desk.calls(held)) == (postponed["id"], 1)
