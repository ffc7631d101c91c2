"""The total weight of a message's findings, and its parts. It only counts what the
checks found.

Each rule counts once, by its heaviest finding; an admin's weight takes the place of the
points it was published with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from risk.findings import Finding, counted_points, restored, rule_order
from risk.rules import RULES

# From here on a message, or one finding, is called high; below, and above nothing, it
# is a notice.
HIGH = 50

# What a finding of a rule that is no longer published counts, where it was stored
# without points.
_UNPUBLISHED = {"high": HIGH, "notice": 10}


@dataclass(frozen=True)
class Part:
    """What one rule adds to the sum: "look-alike 70". `published` is what it would add
    without an admin's weight.
    """

    rule: str
    words: str
    points: int
    published: int


@dataclass(frozen=True)
class Score:
    """The sum of the parts, heaviest first; parts that count nothing come last."""

    points: int = 0
    level: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The words of what counts, heaviest first."""
        return tuple(part.words for part in self.parts if part.points and part.words)


def score(findings: Iterable[Finding], weights: Mapping[str, int]) -> Score:
    """Return the score of findings. `weights` has only the rules for which an admin set
    other points.
    """
    heaviest: dict[str, Part] = {}
    for finding in findings:
        rule = RULES.get(finding.rule)
        part = Part(
            finding.rule,
            rule.words if rule else "",
            points_of(finding, weights),
            points_of(finding, {}),
        )
        known = heaviest.get(finding.rule)
        if known is None or (part.points, part.published) > (
            known.points,
            known.published,
        ):
            heaviest[finding.rule] = part
    parts = sorted(
        heaviest.values(), key=lambda part: (-part.points, rule_order(part.rule))
    )
    points = sum(part.points for part in parts)
    return Score(points, level_of(points), tuple(parts))


def score_of(stored: Iterable[Mapping[str, Any]], weights: Mapping[str, int]) -> Score:
    """As `score`, of findings as they are stored with a revision."""
    return score(map(restored, stored), weights)


def points_of(finding: Finding, weights: Mapping[str, int]) -> int:
    """Return what one finding counts, by an admin's points for its rule or by the
    published ones.
    """
    rule = RULES.get(finding.rule)
    if rule is None or rule.points_by_finding:
        return finding.points or _UNPUBLISHED[finding.level]
    return counted_points(rule, finding.level, weights.get(rule.name, rule.points))


def level_of(points: int) -> str:
    """Return the level of so many points: "high", "notice", or empty where nothing
    counts.
    """
    return "high" if points >= HIGH else "notice" if points else ""
