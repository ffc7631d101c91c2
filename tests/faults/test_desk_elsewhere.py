"""The message changes or is decided elsewhere: before the decision, or between decision and call."""

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ
from tests.faults.sender import Sender, event

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


def edit(desk, held, text="Hello Dana, please pay to another account."):
    """Change the content at MultiMail, as its own editor would."""
    desk.sql("UPDATE gateway_email SET markdown = %s, html = NULL WHERE id = %s", text, held.upstream_id)
    desk.note("elsewhere", "edit", upstream_id=held.upstream_id)


def cancel(desk, held):
    answer = desk.product.call("POST", "/v1/cancel_message", json={"message_id": held.upstream_id})
    desk.note("agent", "cancel", upstream_id=held.upstream_id, status=answer.status_code)
    assert answer.status_code == 200, answer.text


def test_decided_elsewhere_while_ours_waits_is_not_called(desk):
    same, opposite, unheard = messages = [desk.hold() for _ in range(3)]
    with desk.undo_window(), desk.without_webhooks(unheard):
        for held, action in ((same, "approve"), (opposite, "reject"), (unheard, "reject")):
            assert desk.decide(held, "approve") == 302
            assert desk.decide_elsewhere(held, action).status_code == 200
        for held in (same, opposite):
            decision = desk.wait_for_decision(held, "superseded")
            assert "outside this desk" in decision["explanation"]
            assert decision["explanation"] in desk.ana.get(f"/queue/{held.id}/").text
        desk.let_fall_due(unheard)
        desk.sweep_to(unheard, "superseded")
    assert [desk.calls(held) for held in messages] == [0, 0, 0]
    for held in (same, opposite):
        [entry] = desk.entries(held, "decision.superseded")
        assert entry["details"]["explanation"] == desk.decision(held)["explanation"]


def test_approval_elsewhere_without_a_reason_is_not_mistaken_for_our_lost_call(desk):
    held = desk.hold()
    with desk.upstream.fault(wire.cut_before, DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        desk.wait_for_decision(held, "unknown")
    assert desk.decide_elsewhere(held, "approve", reason="").status_code == 200
    assert "outside this desk" in desk.wait_for_decision(held, "superseded")["explanation"]
    assert desk.calls(held) == 1


def test_signed_webhook_alone_closes_nothing(desk):
    pending, decided = desk.hold(), desk.hold()
    sender = Sender.of(desk)
    names = ("oversight.approved", "oversight.rejected", "message.sent", "message.cancelled")
    for name in names:
        about = {"email_id": pending.upstream_id, "direction": "outbound", "decided_by": "Mallory"}
        assert sender.post(event(name, **about)).json() == {"result": "checking"}
    query = "SELECT name, result FROM mirror_webhookevent WHERE email_id = %s AND result = 'refuted' ORDER BY id"
    desk.wait(lambda: len(desk.sql(query, pending.upstream_id)) == len(names), "each webhook to be refuted")
    message = desk.message(pending)
    assert (message["state"], message["reported"], message["upstream_decided_by"]) == ("held", "", "")
    assert pending.subject in desk.ana.get("/queue/?group=none").text
    assert "reported what" in desk.person("ADMIN").get("/attention/").text
    assert desk.entries(pending, "webhook.refuted")
    # The gateway's own webhooks of a real decision are confirmed by a read at once.
    assert desk.decide_elsewhere(decided, "reject").status_code == 200
    desk.wait_for_message(decided, "rejected")
    assert desk.decide(pending, "reject") == 302
    desk.wait_for_decision(pending, "applied")


def test_edit_or_cancel_before_the_click_refuses_the_verdict(desk):
    edited, cancelled = desk.hold(), desk.hold()
    edit(desk, edited)
    cancel(desk, cancelled)
    desk.wait_for_message(cancelled, "cancelled")
    desk.reconcile()
    changed(desk, edited)
    refused = desk.ana.decide(edited.id, "reject", edited.fingerprint, "The date is wrong")
    assert refused.status_code == 409
    for expected in ("changed after you opened it", "another account", "The date is wrong"):
        assert expected in refused.text
    assert desk.decide(cancelled) == 409
    assert (desk.decisions(edited), desk.decisions(cancelled)) == ([], [])


def changed(desk, held):
    """Wait until the desk has read the change, and return the new fingerprint."""
    return desk.wait(
        lambda: (now := desk.fetched(held.upstream_id)["fingerprint"]) != held.fingerprint and now, "the change"
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
        assert (desk.calls(held), desk.effects(held)) == (moment == DECIDE, [])
    for held in cancelled.values():
        assert "withdrawn by its sender" in desk.sweep_to(held, "superseded")["explanation"]
        desk.wait_for_message(held, "cancelled")
    desk.reconcile()
    for held in edited.values():
        now = changed(desk, held)
        assert "another account" in desk.ana.get(f"/queue/{held.id}/").text
        assert desk.ana.decide(held.id, "reject", now, "Not ours").status_code == 302
        desk.wait_for_decision(held, "applied")
