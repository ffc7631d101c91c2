"""What is risky about a letter, in plain sentences, worst first. Pure rules over what was written and how it shows.

A rule never says that a letter is harmless: no finding means that these rules saw nothing, no more.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from approvals.risk import attachments, body, parts, recipients, secrets
from approvals.risk.findings import RULES, Finding, Level, RiskContext, Rule, worst_first
from approvals.showing import ShownLetter
from common.fingerprint import Content

__all__ = [
    "RULES",
    "Finding",
    "Level",
    "RiskContext",
    "Rule",
    "find_risks",
    "risk_level",
    "risk_level_of",
    "risk_words",
    "risk_words_of",
]

MAX_WORDS = 3


def find_risks(content: Content, shown: ShownLetter, context: RiskContext) -> tuple[Finding, ...]:
    """Return all findings about a letter, worst first."""
    return worst_first(chain(_about_people(content, context), _about_body(content, shown)))


def risk_level(findings: Iterable[Finding]) -> str:
    """Return the level of the worst finding: "high", "notice", or empty when there is none."""
    levels = {finding.level for finding in findings}
    return next((level for level in ("high", "notice") if level in levels), "")


def risk_words(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return up to three short words for a row of the list, worst first: "look-alike", "link lies"."""
    words = (RULES[finding.rule].words for finding in worst_first(findings) if finding.rule in RULES)
    return tuple(dict.fromkeys(words))[:MAX_WORDS]


def risk_level_of(stored: Iterable[Mapping[str, Any]]) -> str:
    """Return the level of findings as they are stored with a revision."""
    return risk_level(map(_restored, stored))


def risk_words_of(stored: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the short words of findings as they are stored with a revision."""
    return risk_words(map(_restored, stored))


def _restored(stored: Mapping[str, Any]) -> Finding:
    """Rules of a later or earlier version may have other names: an unknown one keeps its level and has no words."""
    level: Level = "high" if stored.get("level") == "high" else "notice"
    return Finding(str(stored.get("rule", "")), int(stored.get("version", 0)), level, str(stored.get("sentence", "")))


def _about_people(content: Content, context: RiskContext) -> Iterator[Finding]:
    yield from recipients.lookalikes(content, context)
    yield from recipients.first_contacts(content, context)
    yield from recipients.many(content, context)


def _about_body(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    for rule in (
        body.lying_links,
        body.odd_links,
        body.hidden_text,
        body.invisible_characters,
        body.remote_content,
        body.shown_as_source,
        body.not_visible,
        secrets.keys,
        secrets.payments,
        parts.differing,
    ):
        yield from rule(content, shown)
    yield from attachments.running_code(content)
