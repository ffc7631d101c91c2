"""Both state machines, over the full product of states and events."""

import itertools
import re
from pathlib import Path

import pytest

from mirror.errors import InvalidTransition
from mirror.states import (
    DECISION_TRANSITIONS,
    LIVE_DECISIONS,
    MESSAGE_TRANSITIONS,
    START,
    DecisionEvent,
    DecisionState,
    MessageEvent,
    MessageState,
    contradicts,
    is_correction,
    needs_confirmation,
    next_decision_state,
    next_message_state,
)

S = MessageState
E = MessageEvent
APPROVED = (S.APPROVED, S.SCHEDULED_APPROVED)
UNSENT = (S.REJECTED, S.CANCELLED, S.FAILED)
# Received mail is released; that its approval let it in is not always known when that is
# reported. A message may be told of long after it was held.
HISTORIES = """
    pending approved cancelled
    pending approved sent delivered complained
    pending approved sent bounced delivered
    pending approved sent bounced complained
    pending approved bounced failed
    pending released received
    pending approved received
    gone approved sent
"""


def test_every_order_of_one_history_ends_alike_and_only_another_history_contradicts_it():
    for line in HISTORIES.strip().splitlines():
        history = [E(name) for name in line.split()]
        ends = set()
        for order in itertools.permutations(history):
            state = START
            for reported in order:
                # As it is taken in: an approval of received mail released it.
                event = (
                    E.RELEASED
                    if reported == E.APPROVED and E.RECEIVED in history
                    else reported
                )
                after = next_message_state(state, event)
                assert after or not contradicts(state, event), (order, state, event)
                state = after or state
            ends.add(state)
        assert len(ends) == 1, (history, ends)
    for state, event in (
        (S.REJECTED, E.APPROVED),
        (S.SENT, E.CANCELLED),
    ):
        assert contradicts(state, event), (state, event)


def test_webhook_alone_tells_only_the_next_step_of_a_message_that_has_not_ended():
    open_states = (S.SCHEDULED, S.HELD, S.GONE, *APPROVED, *UNSENT)
    alone = {
        (s, e)
        for s in open_states
        for e in E
        if next_message_state(s, e) and not needs_confirmation(s, e)
    }
    steps = (E.SCHEDULED, E.RECEIVED, E.RELEASED, E.SENT, E.DELIVERED)
    assert alone == {(S.SCHEDULED, E.PENDING), (S.FAILED, E.BOUNCED)} | {
        (S.APPROVED, step) for step in steps
    }
    assert not any(
        needs_confirmation(s, e)
        for s in (START, S.SENT, S.DELIVERED, S.BOUNCED)
        for e in E
        if e != E.FOUND
    )


def test_only_evidence_of_sending_corrects_an_end_without_it():
    left = (E.SENT, E.DELIVERED, E.BOUNCED, E.COMPLAINED)
    found = {
        (state, event)
        for state in [START, *S]
        for event in E
        if is_correction(state, event)
    }
    # One that bounces for good fails too.
    expected = {
        pair for pair in MESSAGE_TRANSITIONS if pair[0] in UNSENT and pair[1] in left
    }
    assert found == expected - {(S.FAILED, E.BOUNCED)}


def test_withdrawn_never_counts_again_and_never_turns_into_undone():
    ends = {
        DECISION_TRANSITIONS.get((DecisionState.WITHDRAWN, event))
        for event in DecisionEvent
    } - {None}
    assert ends == {"applied", "superseded", "refused"}
    assert DecisionState.WITHDRAWN not in LIVE_DECISIONS


def test_doubtful_decision_goes_out_again_only_by_reading_twice_or_by_a_person():
    again = {
        pair
        for pair, state in DECISION_TRANSITIONS.items()
        if state == DecisionState.RECORDED
    }
    assert again == {
        ("calling", "postpone"),
        ("unknown", "seen_held"),
        ("unknown", "confirm"),
    }
    # What was taken for decided is in doubt again when the message is found.
    assert (
        next_decision_state(DecisionState.UNATTRIBUTED, DecisionEvent.FOUND)
        == DecisionState.UNKNOWN
    )


def test_documentation_lists_every_step_of_a_decision_and_no_other():
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$",
        Path("docs/decisions.md").read_text(),
        re.MULTILINE,
    )
    assert {
        (state, event): after for state, event, after in rows
    } == DECISION_TRANSITIONS
    with pytest.raises(InvalidTransition):
        next_decision_state(DecisionState.APPLIED, DecisionEvent.UNDO)
