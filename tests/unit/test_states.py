"""Both state machines, over the full product of states and events."""

import itertools
import re
from pathlib import Path

import pytest

from approvals.errors import InvalidTransition
from approvals.states import (
    DECISION_TRANSITIONS,
    LIVE_DECISIONS,
    MESSAGE_TRANSITIONS,
    START,
    DecisionEvent,
    DecisionState,
    MessageEvent,
    MessageState,
    next_decision_state,
    next_message_state,
)

S, E = MessageState, MessageEvent
ENDS = {S.REJECTED, S.CANCELLED, S.COMPLAINED, S.RELEASED}
# How far along a message is; nothing may ever lower it.
RANK = {
    START: 0, S.SCHEDULED: 1, S.HELD: 2, S.GONE: 3, S.APPROVED: 4, S.SCHEDULED_APPROVED: 5, S.SENT: 6, S.DELIVERED: 7,
    S.FAILED: 8, S.BOUNCED: 9, S.COMPLAINED: 10, S.REJECTED: 8, S.CANCELLED: 8, S.RECEIVED: 8, S.RELEASED: 9,
}  # fmt: skip


@pytest.mark.proves("states 1")
@pytest.mark.parametrize(("state", "event"), list(itertools.product([START, *MessageState], MessageEvent)))
def test_message_never_moves_backwards(state, event):
    after = next_message_state(state, event)
    # What was only taken for gone comes back when a read lists it.
    assert after is None or RANK[after] > RANK[state] or (state, event, after) == (S.GONE, E.FOUND, S.HELD)


@pytest.mark.parametrize("state", sorted(ENDS))
def test_message_at_an_end_stays_there(state):
    assert all(next_message_state(state, event) is None for event in MessageEvent)


def test_message_skips_ahead_when_events_were_lost():
    assert next_message_state(START, E.APPROVED) == S.APPROVED
    assert next_message_state(S.HELD, E.SENT) == S.SENT
    assert next_message_state(S.APPROVED, E.DELIVERED) == S.DELIVERED
    assert next_message_state(S.GONE, E.REJECTED) == S.REJECTED


def test_late_pending_does_not_reopen_anything():
    opened = [s for s in [START, *MessageState] if next_message_state(s, E.PENDING) == S.HELD]
    assert opened == [START, S.SCHEDULED]


HISTORIES = [
    (E.PENDING, E.REJECTED),
    (E.PENDING, E.CANCELLED),
    (E.PENDING, E.APPROVED, E.CANCELLED),
    (E.PENDING, E.APPROVED, E.SENT, E.DELIVERED, E.COMPLAINED),
    (E.PENDING, E.APPROVED, E.SENT, E.BOUNCED, E.DELIVERED),
    (E.PENDING, E.APPROVED, E.SENT, E.BOUNCED, E.COMPLAINED),
    (E.PENDING, E.APPROVED, E.BOUNCED, E.FAILED),
    (E.PENDING, E.APPROVED, E.FAILED),
    (E.SENT, E.BOUNCED),
    # Received mail; that its approval let it in is not always known when that is reported.
    (E.PENDING, E.RELEASED, E.RECEIVED),
    (E.PENDING, E.APPROVED, E.RECEIVED),
    (E.PENDING, E.RECEIVED),
    (E.RELEASED, E.RECEIVED),
    # Told of long after it was held.
    (E.GONE, E.APPROVED, E.SENT),
]


@pytest.mark.parametrize("history", HISTORIES, ids="-".join)
def test_every_order_of_one_history_ends_alike(history):
    ends = set()
    for order in itertools.permutations(history):
        state = START
        for event in order:
            state = next_message_state(state, event) or state
        ends.add(state)
    assert len(ends) == 1


@pytest.mark.proves("states 2")
@pytest.mark.parametrize(("state", "event"), list(itertools.product(DecisionState, DecisionEvent)))
def test_decision_machine_is_total(state, event):
    if (state, event) in DECISION_TRANSITIONS:
        assert next_decision_state(state, event) in DecisionState
    else:
        with pytest.raises(InvalidTransition):
            next_decision_state(state, event)


def test_undo_is_out_of_reach_once_a_call_may_have_left():
    undoable = {state for state in DecisionState if (state, DecisionEvent.UNDO) in DECISION_TRANSITIONS}
    # Being carried out begins with a read; the row's own mark says when the call itself may have left.
    assert undoable == {"recorded", "calling"}


def test_only_recorded_decisions_are_taken():
    assert [state for state in DecisionState if (state, DecisionEvent.TAKE) in DECISION_TRANSITIONS] == ["recorded"]


def test_applied_superseded_refused_and_undone_are_ends():
    ended = set(DecisionState) - {state for state, _ in DECISION_TRANSITIONS}
    assert ended == {"applied", "superseded", "refused", "undone"}
    assert not ended & set(LIVE_DECISIONS)


def test_withdrawn_never_counts_again_and_never_turns_into_undone():
    ends = {DECISION_TRANSITIONS.get((DecisionState.WITHDRAWN, event)) for event in DecisionEvent} - {None}
    assert ends == {"applied", "superseded", "refused"}
    assert DecisionState.WITHDRAWN not in LIVE_DECISIONS


def test_only_reading_twice_or_a_person_lets_a_doubtful_decision_go_out_again():
    again = {pair for pair, state in DECISION_TRANSITIONS.items() if state == DecisionState.RECORDED}
    assert again == {("calling", "postpone"), ("unknown", "seen_held"), ("unknown", "confirm")}


def test_decision_taken_for_decided_is_in_doubt_again_when_the_message_is_found():
    assert next_decision_state(DecisionState.UNATTRIBUTED, DecisionEvent.FOUND) == DecisionState.UNKNOWN


def test_documentation_lists_every_step_of_a_decision_and_no_other():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", Path("docs/decisions.md").read_text(), re.MULTILINE)
    assert {(state, event): after for state, event, after in rows} == DECISION_TRANSITIONS


def test_transition_tables_name_known_states_only():
    assert {state for state, _ in MESSAGE_TRANSITIONS} <= {START, *MessageState}
