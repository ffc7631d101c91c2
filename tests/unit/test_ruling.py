"""The ruling: who may decide what, with the reason that applies first; in doubt nobody."""

import itertools

from policy.evaluation import RulingFacts, rule


def ruling(**facts):
    return rule(
        RulingFacts(
            **{"is_held": True, "is_fetched": True, "is_reviewer": True, **facts}
        )
    )


def may(**facts):
    """Whether the message may be approved, and rejected."""
    ruled = ruling(**facts)
    return ruled.may_approve, ruled.may_reject


def test_one_missing_condition_refuses_both():
    for facts in itertools.product([True, False], repeat=3):
        ruled = rule(RulingFacts(*facts))
        assert ruled.may_approve == all(facts), facts
        assert ruled.may_reject == all(facts), facts


def test_author_and_whoever_comes_too_late_may_reject_but_not_approve():
    assert may(is_author=True) == (False, True)
    assert may(is_expired=True) == (False, True)


def test_pulled_kill_switch_lets_people_decide_and_says_that_nothing_leaves():
    assert may(stopped_by="Ida (wrong price)") == (True, True)
    assert ruling(stopped_by="Ida (wrong price)").reasons == (
        "You may decide, but nothing is sent until the kill switch is released. Pulled by Ida (wrong price).",
    )
    # It opens nothing that was refused.
    assert may(is_expired=True, stopped_by="Ida (x)") == (False, True)
