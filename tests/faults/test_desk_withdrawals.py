"""An approval is withdrawn during its call: nothing is shown as undone that may still be sent."""

import contextlib

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


def post(desk, held, act):
    page = desk.ana.get(f"/queue/{held.id}/")
    answer = desk.ana.post(f"/queue/{held.id}/{act}/", page)
    desk.note("REVIEWER", act, upstream_id=held.upstream_id, status=answer.status_code)
    return answer.status_code


def test_withdrawn_approval_may_still_leave_unless_a_reject_comes_first(desk):
    rejected, left = messages = [desk.hold() for _ in range(2)]
    calls = {held: wire.Hold() for held in messages}
    with contextlib.ExitStack() as faults:
        for held, call in calls.items():
            faults.enter_context(desk.upstream.fault(call, DECIDE, held.upstream_id, times=1))
            assert desk.decide(held) == 302
            call.wait()
            assert (post(desk, held, "undo"), post(desk, held, "withdraw")) == (409, 302)
            assert "May still be sent" in desk.ana.get(f"/queue/{held.id}/").text
        assert desk.decide(rejected, "reject", reason="Stop it") == 302
        desk.sweep_to(rejected, "applied")
        for call in calls.values():
            call.release()
        desk.wait(lambda: desk.decisions(rejected)[0]["state"] == "superseded", "the approval to have lost")
        desk.wait_for_decision(left, "applied")
    assert desk.email(rejected)["decision_reason"].startswith("Stop it")
    assert len(desk.entries(left, "decision.left_after_all")) == 1
    assert "sent after all" in desk.ana.get(f"/queue/{left.id}/").text.lower()
