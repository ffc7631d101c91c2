"""An approval is stopped while its call is under way: nothing is shown as undone that may still leave."""

import contextlib

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@contextlib.contextmanager
def under_way(desk, held):
    """Approve a message, and give the call that the proxy holds before MultiMail has it."""
    call = wire.Hold()
    with desk.upstream.fault(call, DECIDE, held.upstream_id, times=1):
        assert desk.decide(held) == 302
        call.wait()
        yield call


def post(desk, held, act):
    page = desk.ana.get(f"/queue/{held.id}/")
    answer = desk.ana.post(f"/queue/{held.id}/{act}/", page)
    desk.note("REVIEWER", act, upstream_id=held.upstream_id, status=answer.status_code)
    return answer.status_code


def withdrawn(desk, held):
    """Withdraw, and see what the page says of it."""
    assert post(desk, held, "undo") == 409
    assert post(desk, held, "withdraw") == 302
    assert "May still leave" in desk.ana.get(f"/queue/{held.id}/").text


@pytest.mark.fault(
    13,
    injected="A person stops an approval while the proxy holds its call, and rejects it; then the call goes on.",
    held="Not shown as undone but as may still leave; the reject is first, the late approval loses, nothing leaves.",
)
def test_reject_after_withdrawal_wins_over_the_late_approval(desk):
    held = desk.hold()
    with under_way(desk, held) as call:
        withdrawn(desk, held)
        assert desk.decide(held, "reject", reason="Stop it") == 302
        desk.sweep_to(held, "applied")
        call.release()
        desk.wait(lambda: desk.decisions(held)[0]["state"] == "superseded", "the approval to have lost")
    assert desk.email(held)["decision_reason"].startswith("Stop it")


@pytest.mark.fault(
    13,
    injected="A person stops an approval while the proxy holds its call; then the call goes on.",
    held="It may still leave, and it does: said loudly, in the ledger too.",
)
def test_call_that_goes_on_after_withdrawal_left_after_all(desk):
    held = desk.hold()
    with under_way(desk, held) as call:
        withdrawn(desk, held)
        call.release()
        desk.wait_for_decision(held, "applied")
    assert len(desk.entries(held, "decision.left_after_all")) == 1
    assert "left after all" in desk.ana.get(f"/queue/{held.id}/").text.lower()
