"""The table of an email's states, whole: every state by every change."""

import itertools

import pytest

from gateway.states import AWAITING_DECISION, TRANSITIONS, Change, InvalidTransition, Status, allows, next_state

TERMINAL = {Status.SENT, Status.SEND_FAILED, Status.REJECTED, Status.CANCELLED}


@pytest.mark.proves("states 3")
@pytest.mark.parametrize(("status", "change"), list(itertools.product(Status, Change)))
def test_every_state_by_every_change_follows_the_table(status: Status, change: Change):
    if (status, change) in TRANSITIONS:
        assert next_state(status, change) == TRANSITIONS[status, change]
        assert allows(status, change)
    else:
        assert not allows(status, change)
        with pytest.raises(InvalidTransition):
            next_state(status, change)


def test_nothing_leaves_a_terminal_state():
    assert not TERMINAL & {status for status, _ in TRANSITIONS}


def test_only_what_is_scheduled_is_sent_and_held_mail_gets_there_by_approval_alone():
    assert {status for (status, _), target in TRANSITIONS.items() if target is Status.SENT} == {Status.SCHEDULED}
    ways = {change for (status, change), target in TRANSITIONS.items() if status in AWAITING_DECISION}
    assert ways == {Change.APPROVE, Change.REJECT, Change.CANCEL}
