"""What findings count together: published points, admins' points, milder findings, and
the level that follows.
"""

import pytest

from risk.findings import HIGH, counted_points, finding, level_of, score, score_of
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
        (["looks_different-"], {}, 12, ("may look different",)),
        (
            ["looks_different-", "looks_different", "looks_different"],
            {},
            60,
            ("may look different",),
        ),
        # An admin's points replace the published ones; what counts nothing has no words
        # in the list.
        (
            ["looks_different", "first_contact"],
            {"looks_different": 10},
            20,
            ("may look different", "first contact"),
        ),
        (
            ["looks_different", "first_contact"],
            {"looks_different": 0},
            10,
            ("first contact",),
        ),
        (["looks_different"], {"looks_different": 0}, 0, ()),
        (
            ["not_visible", "payment_details-"],
            {"not_visible": 100},
            110,
            ("parts not visible", "payment"),
        ),
    ],
)
def test_points_of_all_rules_add_up_heaviest_first(rules, weights, points, words):
    total = score(seen(*rules), weights)
    assert total.points == points
    assert total.words == words
    assert total.level == level_of(points)


def test_parts_tell_what_each_counts_and_would_count_as_published():
    weights = {"looks_different": 0, "first_contact": 100}
    parts = score(seen("looks_different", "first_contact"), weights).parts
    assert [(one.rule, one.points, one.published) for one in parts] == [
        ("first_contact", 100, 10),
        ("looks_different", 0, 60),
    ]


def test_fifth_of_little_is_one_and_of_nothing_nothing():
    counts = {0: 0, 1: 1, 4: 1, 5: 1, 9: 1, 10: 2, 100: 20}
    assert {
        points: counted_points(RULES["looks_different"], "notice", points)
        for points in counts
    } == counts
    assert [
        counted_points(RULES["first_contact"], "notice", points) for points in counts
    ] == list(counts)


def test_level_follows_the_points():
    levels = {0: "", 1: "notice", HIGH - 1: "notice", HIGH: "high", 900: "high"}
    assert {points: level_of(points) for points in levels} == levels


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
    assert (
        score_of(
            [
                {
                    "rule": "looks_different",
                    "version": 1,
                    "level": "high",
                    "sentence": "Seen.",
                }
            ],
            {},
        ).points
        == 60
    )


def test_published_rules_weigh_as_their_level_says_and_stand_in_that_order():
    points = [rule.points for rule in RULES.values()]
    assert points == sorted(points, reverse=True)
    assert all(
        1 <= rule.points <= 100 and level_of(rule.points) == rule.level
        for rule in RULES.values()
    )
    assert all(rule.version >= 1 and len(rule.name) <= 40 for rule in RULES.values())
    assert len({rule.words for rule in RULES.values()}) == len(RULES)
    # No finding promises that something is safe.
    promised = (
        f"{rule.about} {rule.words}".replace("could not be read safely", "")
        for rule in RULES.values()
    )
    assert not any("safe" in words for words in promised)
