"""What is risky about a message, in plain sentences, worst first.

Pure: no models, no network. Start with `rules.py`.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from common.fingerprint import Content
from rendering import ShownLetter
from risk import attachments, body, naming, parts, recipients, repeated, replies, secrets, spelling
from risk.findings import Finding, Rejected, RiskContext, restored, worst_first
from risk.greeting import greets_another
from risk.rules import RULES, Level, Rule
from risk.score import Part, Score, score, score_of

__all__ = [
    "RULES",
    "Finding",
    "Level",
    "Part",
    "Rejected",
    "RiskContext",
    "Rule",
    "Score",
    "find_risks",
    "restored",
    "risk_level",
    "risk_level_of",
    "risk_words",
    "risk_words_of",
    "score",
    "score_of",
]

MAX_WORDS = 3
_AS_PUBLISHED: Mapping[str, int] = {}


def find_risks(content: Content, shown: ShownLetter, context: RiskContext) -> tuple[Finding, ...]:
    """Return all findings about a letter, worst first."""
    return worst_first(chain(_about_people(content, shown, context), _about_body(content, shown)))


def risk_level(findings: Iterable[Finding], weights: Mapping[str, int] = _AS_PUBLISHED) -> str:
    """Return the level that findings have together: "high", "notice", or empty where nothing counts."""
    return score(findings, weights).level


def risk_words(findings: Iterable[Finding], weights: Mapping[str, int] = _AS_PUBLISHED) -> tuple[str, ...]:
    """Return up to three short words for a row of the list, heaviest first: "look-alike", "link lies"."""
    return score(findings, weights).words[:MAX_WORDS]


def risk_level_of(stored: Iterable[Mapping[str, Any]], weights: Mapping[str, int] = _AS_PUBLISHED) -> str:
    """Return the level of findings as they are stored with a revision."""
    return score_of(stored, weights).level


def risk_words_of(stored: Iterable[Mapping[str, Any]], weights: Mapping[str, int] = _AS_PUBLISHED) -> tuple[str, ...]:
    """Return the short words of findings as they are stored with a revision."""
    return score_of(stored, weights).words[:MAX_WORDS]


def _about_people(content: Content, shown: ShownLetter, context: RiskContext) -> Iterator[Finding]:
    yield from naming.names_that_lie(content)
    yield from greets_another(content, shown)
    yield from repeated.rejected_before(context)
    for rule in (
        recipients.lookalikes,
        recipients.off_allowlist,
        recipients.first_contacts,
        recipients.many,
        spelling.odd_addresses,
        replies.reply_elsewhere,
    ):
        yield from rule(content, context)


def _about_body(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    for rule in (
        body.lying_links,
        body.odd_links,
        body.hidden_text,
        body.reordered_text,
        body.encoded_words,
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
