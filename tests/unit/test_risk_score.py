"""What findings count together: published points, admins' points, milder findings, and the level that follows."""

from risk import RULES, score, score_of
from risk.findings import counted_points, finding
from risk.score import HIGH, level_of, points_of


def seen(*rules):
    return [finding(rule.rstrip("-"), "Seen.", is_milder=rule.endswith("-")) for rule in rules]


def test_points_of_all_rules_add_up_and_the_level_follows():
    total = score(seen("first_contact", "remote_content"), {})
    assert (total.points, total.level) == (15, "notice")
    assert [(part.rule, part.points) for part in total.parts] == [("first_contact", 10), ("remote_content", 5)]
    assert score(seen("first_contact", "greeting_differs", "payment_details-"), {}).level == "high"
    assert (score((), {}).points, score((), {}).level) == (0, "")


def test_milder_finding_counts_a_fifth_and_a_rule_counts_once():
    assert score(seen("looks_different-"), {}).points == 12
    assert score(seen("looks_different-", "looks_different", "looks_different"), {}).points == 60


def test_weight_replaces_the_published_points():
    findings = seen("looks_different", "first_contact")
    assert score(findings, {"looks_different": 10}).points == 20
    assert score(findings, {"looks_different": 0}).level == "notice"
    [heavy, light] = score(findings, {"looks_different": 0, "first_contact": 100}).parts
    assert (heavy.rule, heavy.points, heavy.published) == ("first_contact", 100, 10)
    assert (light.rule, light.points) == ("looks_different", 0)


def test_fifth_of_little_is_one_and_of_nothing_nothing():
    counts = {0: 0, 1: 1, 4: 1, 5: 1, 9: 1, 10: 2, 100: 20}
    assert {points: counted_points(RULES["looks_different"], "notice", points) for points in counts} == counts
    assert [counted_points(RULES["first_contact"], "notice", points) for points in counts] == list(counts)


def test_rule_without_points_is_noted_but_has_no_words_in_the_list():
    findings = seen("looks_different", "first_contact")
    assert score(findings, {"looks_different": 0}).words == ("first contact",)
    assert score(findings, {"looks_different": 0, "first_contact": 0}).level == ""


def test_words_come_heaviest_first():
    findings = seen("not_visible", "first_contact", "payment_details-", "greeting_differs")
    assert score(findings, {}).words == ("wrong greeting", "payment", "first contact", "parts not visible")
    assert score(findings, {"not_visible": 100}).words[0] == "parts not visible"


def test_level_follows_the_points():
    levels = {0: "", 1: "notice", HIGH - 1: "notice", HIGH: "high", 900: "high"}
    assert {points: level_of(points) for points in levels} == levels


def test_stored_findings_keep_what_they_counted_and_older_ones_count_by_their_rule():
    stored = [{"rule": "gone", "version": 1, "level": "high", "points": 55}, {"rule": "older", "level": "high"}]
    assert score_of(stored, {}).points == 105
    assert score_of(stored, {"gone": 0}).points == 105
    assert (score_of(stored, {}).level, score_of(stored, {}).words) == ("high", ())
    # Stored before there were points.
    assert score_of([{"rule": "looks_different", "version": 1, "level": "high", "sentence": "Seen."}], {}).points == 60


def test_finding_keeps_what_it_counts_as_published():
    assert [one.points for one in seen("looks_different", "looks_different-", "first_contact")] == [60, 12, 10]
    assert points_of(seen("looks_different")[0], {"looks_different": 7}) == 7


def test_published_rules_weigh_as_their_level_says_and_stand_in_that_order():
    points = [rule.points for rule in RULES.values()]
    assert points == sorted(points, reverse=True)
    assert all(1 <= rule.points <= 100 and level_of(rule.points) == rule.level for rule in RULES.values())
    assert all(rule.looks_for.endswith(".") and len(rule.name) <= 40 for rule in RULES.values())
    assert len({rule.words for rule in RULES.values()}) == len(RULES)
