"""P3: whatever happens between the steps of decisions, at most one effect, and nothing
stays unknown unseen.

A Hypothesis state machine makes the moves; tests/promises/test_p3_decision_model.py
checks the same in a model.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.factories import make_person
from tests.promises.decision_machine import DecisionMachine
from tests.promises.upstream_world import serving_world


@pytest.fixture
def machine(transactional_db):
    with serving_world() as world:
        DecisionMachine.world = world
        DecisionMachine.people = [
            make_person("ana@yourteam.example", "Ana Ferreira", "reviewer"),
            make_person("ben@yourteam.example", "Ben Okafor", "reviewer"),
        ]
        DecisionMachine.admin = make_person(
            "ida@yourteam.example", "Ida Lindqvist", "admin"
        )
        yield DecisionMachine


def run(machine, **options):
    quiet = [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ]
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None, database=None, suppress_health_check=quiet, **options
        ),
    )


def test_decisions_hold_whatever_happens_between_the_steps(machine):
    run(machine, max_examples=2, stateful_step_count=25, derandomize=True)


@pytest.mark.slow
def test_decisions_hold_in_many_more_histories(machine):
    run(machine, max_examples=6, stateful_step_count=50, print_blob=True)


@pytest.mark.parametrize(
    ("what", "trouble"),
    [
        ("approve", "silent"),
        pytest.param("approve", "forgets", marks=pytest.mark.slow),
        pytest.param("approve silently", "", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_later_webhook_of_another_approval_is_not_mistaken_for_ours(
    machine, what, trouble
):
    """A history that the machine found: the webhook that names who decided is late, and
    MultiMail does not tell.

    Or it tells who, and that they gave no reason.
    """
    state = machine()
    try:
        state.begin(repeats=True, outcomes=("approve", "approve"), calls=True)
        state.something_else_happens(which=0, what=what)
        # It says that the message was sent, and not by whose decision.
        state.webhook_arrives(which=3)
        state.answer_call(which=0, how="500")
        state.resolve_doubt(
            silent=trouble == "silent", forgets=trouble == "forgets", settles=False
        )
        state.decisions_only_go_forward()
        state.doubt_is_shown()
    finally:
        state.teardown()
