"""Rules that are not called looser ask at least as much of every message."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from policy.rules.conditions import Conditions
from policy.rules.rules import Effects, PolicyRule, is_as_strict, merged, rules_loosen

WHENS = (
    Conditions(),
    Conditions(risk="high"),
    Conditions(mailboxes=frozenset({3})),
    Conditions(amount=Decimal(5)),
)
THENS = st.builds(
    Effects,
    approvals=st.dictionaries(st.integers(0, 2), st.integers(1, 3), max_size=2),
    barred_groups=st.frozensets(st.integers(1, 3)),
    never_in_bulk=st.booleans(),
    reject=st.sampled_from(["", "Not us"]),
    expire_minutes=st.none() | st.integers(1, 3),
)
RULES = st.lists(
    st.builds(
        PolicyRule,
        id=st.just("a"),
        name=st.just("A"),
        owner=st.none(),
        note=st.just(""),
        is_on=st.booleans(),
        when=st.sampled_from(WHENS),
        then=THENS,
    ),
    max_size=4,
)
ONE = PolicyRule(
    "a", "A", None, "", True, Conditions(risk="high"), Effects(never_in_bulk=True)
)


@given(
    before=RULES, after=RULES, true=st.lists(st.sampled_from(WHENS[1:]), unique_by=str)
)
def test_rules_that_do_not_loosen_ask_at_least_as_much_of_every_message(
    before, after, true
):
    """`true` are the conditions that hold for it."""
    if rules_loosen(before, after):
        return
    was, now = (
        merged(
            one.then
            for one in rules
            if one.is_on and (one.when.is_empty or one.when in true)
        )
        for rules in (before, after)
    )
    assert is_as_strict(now, was)


@given(rules=RULES, more=RULES)
def test_same_rules_and_further_ones_do_not_loosen(rules, more):
    assert not rules_loosen(rules, [*more, *rules])


def test_removing_switching_off_or_narrowing_a_rule_loosens():
    narrower = replace(ONE, when=Conditions(risk="high", mailboxes=frozenset({3})))
    assert [
        rules_loosen([ONE], after)
        for after in ([], [replace(ONE, is_on=False)], [narrower])
    ] == [True] * 3
    assert not rules_loosen([ONE], [replace(ONE, when=Conditions())])
