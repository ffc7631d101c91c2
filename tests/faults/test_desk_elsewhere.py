"""The message changes, or somebody else decides it, between looking and deciding and between deciding and the call."""

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

# That a read finds what became of a message is proved more quickly by test_execute, and here by what was decided.
BEFORE = [READ, DECIDE]


def edit(desk, held, text="Hello Dana, please pay to another account."):
    """Change the content at MultiMail, as its own editor would."""
    desk.sql("UPDATE gateway_email SET markdown = %s, html = NULL WHERE id = %s", text, held.upstream_id)
    desk.note("elsewhere", "edit", upstream_id=held.upstream_id)


def cancel(desk, held):
    answer = desk.product.call("POST", "/v1/cancel_message", json={"message_id": held.upstream_id})
    desk.note("agent", "cancel", upstream_id=held.upstream_id, status=answer.status_code)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def slowly(desk):
    """Give this mailbox an undo window, so that something can happen within it."""
    with desk.undo_window():
        yield


@pytest.mark.fault(
    8,
    injected="Somebody decides at MultiMail, the same or the opposite way, while our decision waits to be carried out.",
    held="Superseded by the webhook, without a call; the ledger and the page say what was decided elsewhere.",
)
@pytest.mark.parametrize("action", ["approve", "reject"])
def test_decided_elsewhere_while_ours_waits_is_not_called(desk, slowly, action):
    held = desk.hold()
    assert desk.decide(held, "approve") == 302
    assert desk.decide_elsewhere(held, action).status_code == 200
    decision = desk.wait_for_decision(held, "superseded")
    assert desk.calls(held) == 0
    [entry] = desk.entries(held, "decision.superseded")
    assert "outside this desk" in entry["details"]["explanation"]
    assert decision["explanation"] in desk.ana.get(f"/queue/{held.id}/").text


def test_approval_elsewhere_without_a_word_is_not_taken_for_our_call_that_never_arrived(desk):
    held = desk.hold()
    with desk.upstream.fault(wire.cut_before, DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        desk.wait_for_decision(held, "unknown")
    assert desk.decide_elsewhere(held, "approve", reason="").status_code == 200
    assert "outside this desk" in desk.wait_for_decision(held, "superseded")["explanation"]
    assert desk.calls(held) == 1


@pytest.mark.fault(
    8,
    injected="As above, and MultiMail's webhook of it is lost.",
    held="The read before the call finds it closed: superseded, and the decide call is not made.",
)
def test_decided_elsewhere_unheard_of_is_found_before_the_call(desk, slowly):
    held = desk.hold()
    with desk.without_webhooks(held):
        assert desk.decide(held, "approve") == 302
        assert desk.decide_elsewhere(held, "reject").status_code == 200
        desk.let_fall_due(held)
        desk.sweep_to(held, "superseded")
    assert desk.calls(held) == 0


@pytest.mark.fault(
    9,
    injected="The content is changed at MultiMail between looking and clicking, and the desk has read it again.",
    held="The verdict is refused with both fingerprints and what changed; nothing is recorded.",
)
def test_edit_before_the_click_refuses_the_verdict(desk):
    held = desk.hold()
    edit(desk, held)
    desk.reconcile()
    desk.wait(lambda: desk.fetched(held.upstream_id)["fingerprint"] != held.fingerprint, "the change to be read")
    answer = desk.ana.decide(held.id, "reject", held.fingerprint, "The date is wrong")
    assert answer.status_code == 409
    assert "changed after you opened it" in answer.text
    assert "another account" in answer.text
    assert "The date is wrong" in answer.text
    assert desk.decisions(held) == []


@pytest.mark.fault(
    9,
    injected="The content is changed at MultiMail after the decision, before the read or between it and the call.",
    held="Refused, by the read or by MultiMail's comparison of fingerprints; held again with the change to read.",
)
@pytest.mark.parametrize("before", BEFORE)
def test_edit_before_the_call_refuses_the_decision(desk, before):
    held = desk.hold()
    moment = wire.Hold()
    with desk.upstream.fault(moment, before, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        moment.wait()
        edit(desk, held)
        moment.release()
        desk.wait_for_decision(held, "refused")
    assert desk.calls(held) == (before == DECIDE)
    assert desk.effects(held) == []
    desk.reconcile()
    found = desk.wait(
        lambda: (now := desk.fetched(held.upstream_id))["fingerprint"] != held.fingerprint and now, "the change"
    )
    assert "another account" in desk.ana.get(f"/queue/{held.id}/").text
    assert desk.ana.decide(held.id, "reject", found["fingerprint"], "Not ours").status_code == 302
    desk.wait_for_decision(held, "applied")


@pytest.mark.fault(
    9,
    injected="The sender cancels the message between looking and clicking.",
    held="The verdict is refused, and the page says that it was taken back.",
)
def test_cancel_before_the_click_refuses_the_verdict(desk):
    held = desk.hold()
    cancel(desk, held)
    desk.wait_for_message(held, "cancelled")
    assert desk.decide(held) == 409
    assert desk.decisions(held) == []


@pytest.mark.fault(
    9,
    injected="The sender cancels between the desk's last read and its call, or before that read.",
    held="The decision is superseded: taken back first; nothing leaves.",
)
@pytest.mark.parametrize("before", BEFORE)
def test_cancel_before_the_call_supersedes_the_decision(desk, before):
    held = desk.hold()
    moment = wire.Hold()
    with desk.upstream.fault(moment, before, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        moment.wait()
        cancel(desk, held)
        moment.release()
        decision = desk.sweep_to(held, "superseded")
    assert "taken back" in decision["explanation"]
    desk.wait_for_message(held, "cancelled")
