"""Connections to MultiMail break: what was not sent is sent again.
test_upstream_wire.py has what is unreachable.
"""

import contextlib

import pytest

from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


def test_port_that_closes_between_read_and_call_is_known_as_not_sent(desk):
    held = desk.hold()

    def close_behind(exchange):
        answer = exchange.forward()
        closing.enter_context(desk.upstream.refusing(keep_open=True))
        exchange.reply(answer)

    with (
        contextlib.ExitStack() as closing,
        desk.upstream.fault(close_behind, READ, held.upstream_id, times=1),
    ):
        assert desk.decide(held) == 302
        desk.wait(lambda: desk.decision(held)["explanation"], "the attempt to fail")
        assert desk.wait_for_decision(held, "recorded")["may_have_left"] is False
    desk.let_fall_due(held)
    desk.sweep_to(held, "applied")
    assert desk.calls(held) == 1


def test_idle_connections_that_are_reset_cost_no_decision(desk):
    desk.upstream.resets_idle = True
    try:
        messages = [desk.hold() for _ in range(2)]
        for held in messages:
            assert desk.decide(held) == 302
        for held in messages:
            assert desk.wait_for_decision(held, "applied")["attempt"] == 1
    finally:
        desk.upstream.resets_idle = False
    calls = [
        call
        for held in messages
        for call in desk.upstream.requests(DECIDE, held.upstream_id)
    ]
    assert [call.request_number for call in calls] == [1, 1]
    assert not {call.connection for call in calls} & {
        seen.connection for seen in desk.upstream.seen if seen not in calls
    }
