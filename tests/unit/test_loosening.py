"""What counts as loosening: of modes by tables, of rules by examples. The laws are in
test_policy_laws.py.
"""

from dataclasses import replace
from itertools import product

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


ONE = PolicyRule("a", "A", Conditions(high_risk=True), Effects(care=True))


def test_removing_or_narrowing_a_rule_loosens_and_asking_for_more_does_not():
    narrower = replace(ONE, when=Conditions(high_risk=True, mailboxes=frozenset({3})))
    assert all(rules_loosen([ONE], after) for after in ([], [narrower]))
    stricter = replace(ONE, then=Effects({0: 2}, care=True))
    assert not rules_loosen([ONE], [narrower, stricter])
