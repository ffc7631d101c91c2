"""The kill switch against calls that are due or under way, measured by what reaches
MultiMail.
"""

import contextlib

import pytest

from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@contextlib.contextmanager
def pulled(desk):
    """Pull the kill switch for everything, as a reviewer does; an admin releases it at
    the end.
    """
    page = desk.ana.get("/stop/")
    answer = desk.ana.post(
        "/stop/pull/", page, scope="all", reason="Something is wrong with the agent"
    )
    assert answer.status_code == 302, answer.text
    desk.note("REVIEWER", "pull the kill switch")
    try:
        yield
    finally:
        admin = desk.person("ADMIN")
        for switch in desk.sql(
            "SELECT id FROM policy_killswitch WHERE released_at IS NULL"
        ):
            assert (
                admin.post(
                    f"/stop/{switch['id']}/release/", admin.get("/stop/")
                ).status_code
                == 302
            )
        desk.note("ADMIN", "release the kill switch")


def test_kill_switch_stops_every_call(desk):
    """For approvals and rejections: a call in flight completes, one before its call
    does not, nothing follows.
    """
    flying, marking, *stream = (desk.hold() for _ in range(6))
    call = wire.Hold()
    read = wire.Hold(after_answer=True)
    with contextlib.ExitStack() as faults, desk.undo_window():
        for number, held in enumerate(stream):
            assert desk.decide(held, ("approve", "reject")[number % 2]) == 302
        faults.enter_context(desk.upstream.fault(call, DECIDE, flying.upstream_id))
        faults.enter_context(
            desk.upstream.fault(read, READ, marking.upstream_id, times=1)
        )
        for held in (flying, marking):
            assert desk.decide(held) == 302
            desk.let_fall_due(held)
        desk.sweep()
        call.wait()
        read.wait()
        for held in stream[:2]:
            desk.let_fall_due(held)
            desk.sweep_to(held, "applied")
        with pulled(desk):
            called = len(desk.upstream.requests(DECIDE))
            read.release()
            for held in stream[2:]:
                desk.let_fall_due(held)
            desk.sweep()
            desk.wait_for_idle(but=1)
            assert len(desk.upstream.requests(DECIDE)) == called
            assert desk.upstream.requests(DECIDE, marking.upstream_id) == []
            waiting = [
                desk.decision(held)
                for held in stream
                if desk.decision(held)["state"] == "recorded"
            ]
            assert {decision["outcome"] for decision in waiting} == {
                "approve",
                "reject",
            }
            assert "Ana Ferreira pulled the kill switch" in desk.ben.get("/queue/").text
            # Calls in flight are complete, decisions before their call can be undone,
            # and reading continues.
            call.release()
            desk.wait_for_decision(flying, "applied")
            page = desk.ana.get(f"/queue/{marking.id}/")
            assert desk.ana.post(f"/queue/{marking.id}/undo/", page).status_code == 302
            desk.wait_for_decision(marking, "undone")
            desk.hold()
        for held in stream:
            desk.sweep_to(held, "applied")
