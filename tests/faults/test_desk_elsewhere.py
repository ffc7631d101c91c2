"""The message changes, or is withdrawn by its sender, between the decision and the
call.
"""

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


def edit(desk, held, text="Hello Dana, please pay to another account."):
    """Change the content at MultiMail, as its own editor would."""
    desk.sql(
        "UPDATE gateway_email SET markdown = %s, html = NULL WHERE id = %s",
        text,
        held.upstream_id,
    )
    desk.note("elsewhere", "edit", upstream_id=held.upstream_id)


def cancel(desk, held):
    answer = desk.product.call(
        "POST", "/v1/cancel_message", json={"message_id": held.upstream_id}
    )
    desk.note(
        "agent", "cancel", upstream_id=held.upstream_id, status=answer.status_code
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
