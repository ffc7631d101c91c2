"""What counts as loosening: of modes and settings by tables, of rules by laws."""

from dataclasses import replace
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oversight_modes import NAMES, is_below, is_minimum_lower
from policy.rules.conditions import Conditions
from policy.rules.rules import Effects, PolicyRule, is_as_strict, merged, rules_loosen


def test_mailbox_below_the_minimum_and_lower_minimum():
    for mode, minimum in product(NAMES, NAMES):
        assert is_below(mode, per_call=False, minimum=minimum) == (
            NAMES.index(mode) > NAMES.index(minimum)
        )
        assert is_minimum_lower(mode, than=minimum) == (
            NAMES.index(mode) > NAMES.index(minimum)
        )
    assert is_below("gated_all", per_call=True, minimum="gated_send")
    assert not is_below("read_only", per_call=True, minimum="gated_send")
    assert is_below("later_mode", per_call=False, minimum="monitored")
    assert is_minimum_lower("", than="gated_send")


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
    care=st.booleans(),
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
ONE = PolicyRule("a", "A", None, "", True, Conditions(risk="high"), Effects(care=True))


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
            if one.is_on and (not one.when.asked or one.when in true)
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


@pytest.mark.parametrize(
    ("before", "after", "loosens"),
    [
        ({"rose"}, {"rose", "lily"}, False),
        ({"rose", "lily"}, {"rose"}, True),
        ({"rose"}, {"lily", "iris"}, True),
        (set(), {"rose"}, True),
        ({"rose"}, set(), True),
    ],
)
def test_rule_that_names_more_words_does_not_loosen(before, after, loosens):
    was, now = (
        replace(ONE, when=Conditions(risk="high", words=frozenset(words)))
        for words in (before, after)
    )
    assert rules_loosen([was], [now]) == loosens
