"""What findings count together: published points, admins' points, milder findings, and
the level that follows.
"""

import pytest

from risk.findings import finding, level_of, score, score_of
from risk.rules import RULES


def seen(*rules):
    return [
        finding(rule.rstrip("-"), "Seen.", is_milder=rule.endswith("-"))
        for rule in rules
    ]


@pytest.mark.parametrize(
    ("rules", "weights", "points", "words"),
    [
        ([], {}, 0, ()),
        (
            ["first_contact", "remote_content"],
            {},
            15,
            ("first contact", "remote content"),
        ),
        # A milder finding counts a fifth, and a rule counts once.
        (["looks_different-"], {}, 12, ("may be seen differently",)),
        (["looks_different-", "looks_different"], {}, 60, ("may be seen differently",)),
        # An admin's points replace the published ones; what counts nothing has no words
        # in the list.
        (
            ["looks_different", "first_contact"],
            {"looks_different": 0},
            10,
            ("first contact",),
        ),
    ],
)
def test_points_of_all_rules_add_up_heaviest_first(rules, weights, points, words):
    total = score(seen(*rules), weights)
    assert total.points == points
    assert total.words == words
    assert total.level == level_of(points)


def test_stored_findings_keep_what_they_counted_and_older_ones_count_by_their_rule():
    stored = [
        {"rule": "gone", "version": 1, "level": "high", "points": 55},
        {"rule": "older", "level": "high"},
    ]
    assert [score_of(stored, weights).points for weights in ({}, {"gone": 0})] == [
        105,
        105,
    ]
    # Stored before there were points.
    old = [{"rule": "looks_different", "level": "high", "sentence": "Seen."}]
    assert score_of(old, {}).points == 60


def test_published_rules_weigh_as_their_level_says_and_stand_in_that_order():
    points = [rule.points for rule in RULES.values()]
    assert points == sorted(points, reverse=True)
    assert all(
        1 <= rule.points <= 100 and level_of(rule.points) == rule.level
        for rule in RULES.values()
    )
