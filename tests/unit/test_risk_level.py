"""The risk of a message is that of its worst finding, and the published rules stand in
that order.
"""

import pytest

from risk.findings import finding, level_of, restored, worst_first
from risk.rules import RULES, rules_in_words


@pytest.mark.parametrize(
    ("rules", "level", "words"),
    [
        ([], "", ""),
        # Several notices are still a notice, and so is a milder finding.
        (
            ["greeting_differs", "first_contact", "looks_different-", "parts_differ-"],
            "notice",
            "may be seen differently, parts differ, wrong greeting",
        ),
        (["first_contact", "odd_link"], "high", "odd link, first contact"),
        (["odd_link-", "odd_link"], "high", "odd link, odd link"),
    ],
)
def test_worst_finding_is_the_risk_and_comes_first(rules, level, words):
    found = worst_first(
        finding(rule.rstrip("-"), "Seen.", is_milder=rule.endswith("-"))
        for rule in rules
    )
    assert level_of(found) == level
    assert rules_in_words((one.rule for one in found), 3) == words


def test_stored_finding_of_a_rule_that_is_gone_keeps_its_level():
    stored = [restored({"rule": "gone", "level": "high"}), restored({"rule": "older"})]
    assert level_of(stored) == "high"
    assert level_of(stored[1:]) == "notice"
    assert rules_in_words(["gone", "odd_link"], 3) == "odd link"


def test_published_rules_stand_with_the_high_ones_first():
    levels = [rule.level for rule in RULES.values()]
    assert levels == sorted(levels)
