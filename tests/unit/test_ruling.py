"""The ruling: who may decide what, with the reason that applies first; in doubt nobody."""

import itertools

from policy.rules.demand import Demand, People, Ruling
from tests.factories import nobody_else

OWN = Demand(people=People(person=1, authors=frozenset({1}), identities=nobody_else()))


STATES = ("is_held", "is_fetched", "is_reviewer")


def ruling(**facts):
    nobody = Demand(people=People(identities=nobody_else()))
    return Ruling(**{**dict.fromkeys(STATES, True), "demand": nobody, **facts})


def may(**facts):
    """Whether the message may be approved, and rejected."""
    ruled = ruling(**facts)
    return ruled.may_approve, ruled.may_reject


def test_one_missing_condition_refuses_both():
    for facts in itertools.product([True, False], repeat=3):
        ruled = ruling(**dict(zip(STATES, facts, strict=True)))
        assert ruled.may_approve == all(facts), facts
        assert ruled.may_reject == all(facts), facts


def test_author_and_whoever_comes_too_late_may_reject_but_not_approve():
    assert may(demand=OWN) == (False, True)
    assert may(is_expired=True) == (False, True)


def test_pulled_kill_switch_lets_people_decide_and_says_that_nothing_leaves():
    assert may(stopped_by="Ida (wrong price)") == (True, True)
    assert ruling(stopped_by="Ida (wrong price)").reasons == (
        "You may decide, but nothing is sent until the kill switch is released. Pulled by Ida (wrong price).",
    )
    # It opens nothing that was refused.
    assert may(is_expired=True, stopped_by="Ida (x)") == (False, True)
