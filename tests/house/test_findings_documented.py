"""docs/findings.md lists every published rule as it is, in the order of weight, and no
other.
"""

import re
from pathlib import Path

from risk.findings import HIGH, MILDER
from risk.rules import RULES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "findings.md").read_text()


def test_published_rules_stand_in_the_documentation_as_they_are():
    listed = re.findall(
        r"^\| `(\w+)` \((\d+)\) \| ([^|]+) \| (\d+) \| (.+) \|$", PAGE, re.MULTILINE
    )
    published = [
        (
            rule.name,
            str(rule.version),
            rule.words,
            str(rule.points),
            f"**{rule.about}** {rule.looks_for}",
        )
        for rule in RULES.values()
    ]
    assert listed == published


def test_numbers_in_the_documentation_are_those_of_the_code():
    text = " ".join(PAGE.split())
    assert f"From {HIGH} points a message is **high**" in text
    assert MILDER == 5
    assert "counts a fifth" in text
