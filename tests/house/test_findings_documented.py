"""docs/findings.md lists every published rule as it is, in their order, and no other."""

import re
from pathlib import Path

from risk.rules import RULES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "findings.md").read_text()


def test_published_rules_stand_in_the_documentation_as_they_are():
    listed = re.findall(
        r"^\| `(\w+)` \((\d+)\) \| ([^|]+) \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE
    )
    published = [
        (
            rule.name,
            str(rule.version),
            rule.words,
            rule.level,
            f"**{rule.about}** {rule.looks_for}",
        )
        for rule in RULES.values()
    ]
    assert listed == published
