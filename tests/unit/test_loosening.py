"""What counts as loosening: of modes by tables, of rules by examples. The laws are in
test_policy_laws.py.
"""

from dataclasses import replace
from itertools import product

import pytest

from mirror.oversight_modes import NAMES, is_below, is_minimum_lower
from policy.rules.conditions import Conditions
from policy.rules.rules import Effects, PolicyRule, rules_loosen


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


ONE = PolicyRule("a", "A", None, "", True, Conditions(risk="high"), Effects(care=True))


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
