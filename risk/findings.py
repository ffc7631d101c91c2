"""Findings, the desk's knowledge that checks may use, the anchors of findings on the
page, and the total weight of a message's findings with its parts.

Each rule counts once, by its heaviest finding; an admin's weight takes the place of the
points it was published with.

To add a finding, see `risk/__init__.py`.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from common.fingerprint import Content, normalise_address
from rendering import Link, RenderedMessage
from risk.rules import RULES, Level, Rule

# A finding that is milder than its rule counts a fifth of the points.
MILDER = 5
MAX_EVIDENCE = 50

_BLANKS = re.compile(r"\s+")
_QUOTES = re.compile('[“”„‟«»"]')

_ORDER = {name: position for position, name in enumerate(RULES)}
_LEVELS = {"high": 0, "notice": 1}


@dataclass(frozen=True)
class Finding:
    """One finding about a message: a sentence, a detail that follows it, and its
    evidence.
    """

    rule: str
    version: int
    level: Level
    sentence: str
    detail: str = ""
    evidence: tuple[str, ...] = ()
    # Where on the page the reader finds it, such as "#links".
    anchor: str = ""
    # Its points when it was made, for rules that are no longer published.
    points: int = 0


@dataclass(frozen=True)
class Rejected:
    """A message like this one that was rejected. One in another mailbox stays unnamed:
    it may not be visible.
    """

    public_id: str
    by: str
    at: str
    reason: str = ""
    in_same_mailbox: bool = True


@dataclass(frozen=True)
class Phrase:
    """A word, phrase or pattern: as it was typed, and as it is compared."""

    text: str
    words: tuple[str, ...]

    @property
    def spelling(self) -> str:
        """How it is compared, the same for two that find the same."""
        return " ".join(self.words)


@dataclass(frozen=True)
class OwnPhrase:
    """A phrase that admins look for: where, and the points of its finding."""

    phrase: Phrase
    looks_in: frozenset[str]
    points: int


@dataclass(frozen=True)
class RiskContext:
    """What the desk knows: its own domains, how often each known address was written
    to, what was rejected.

    Of a message with two parts, `text_part` is its text as rendered alone. `off_list`
    are the recipients that the allowlists in force refuse, `watched` those that they
    would, were they in force. `own_phrases` are those that admins look for in this
    mailbox, those with the most points first.
    """

    own_domains: Collection[str] = ()
    known_addresses: Mapping[str, int] = field(default_factory=dict)
    off_list: Collection[str] = ()
    watched: Collection[str] = ()
    rejected: Rejected | None = None
    own_phrases: Sequence[OwnPhrase] = ()
    text_part: RenderedMessage | None = None


Check = Callable[[Content, RenderedMessage, RiskContext], Iterator[Finding]]


def written_links(content: Content, rendered: RenderedMessage) -> list[Link]:
    """Return the links of a message without the one to unsubscribe, which is the
    gateway's own.
    """
    return [
        link
        for link in rendered.links
        if link.target != content.additions.get("unsubscribe")
    ]


def finding(
    rule: str,
    sentence: str,
    detail: str = "",
    evidence: Iterable[str] = (),
    *,
    is_milder: bool = False,
    anchor: str = "",
) -> Finding:
    """Return a finding of a published rule, of its level or as a notice. Texts are cut:
    it is stored for good.
    """
    registered = RULES[rule]
    cut = tuple(_cut(piece, 300) for piece in islice(evidence, MAX_EVIDENCE))
    level: Level = "notice" if is_milder else registered.level
    points = counted_points(registered, level, registered.points)
    return Finding(
        rule,
        registered.version,
        level,
        _cut(sentence, 500),
        _cut(detail, 1000),
        cut,
        anchor,
        points,
    )


def not_read_safely(what: str) -> Finding:
    """Return the finding that the parser was killed over `what`, the beginning of a
    sentence, twice.
    """
    detail = "Reading it took too much time or memory, twice. It is not tried again by itself."
    return finding("unsafe_content", f"{what} could not be read safely.", detail)


def one_word(text: str) -> str:
    """Return an address as one word: with blanks in it, it could pass for words of the
    desk.
    """
    return _BLANKS.sub("␣", text)


def quoted(text: str, most: int = 80) -> str:
    """Return words of the message in quotes, with quotes inside them replaced."""
    return f"“{_QUOTES.sub(chr(39), text[:most])}”"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def counted_points(rule: Rule, level: Level, points: int) -> int:
    """Return what a finding of this level counts where its rule has so many points: a
    fifth where it is milder.
    """
    is_milder = rule.level == "high" and level == "notice"
    # A rule of at least one point keeps one, so that the finding stays a notice.
    return max(points // MILDER, min(points, 1)) if is_milder else points


def restored(stored: Mapping[str, Any]) -> Finding:
    """Return a finding as it is stored with a revision. Rules of another version may
    have other names and fields.
    """
    level: Level = "high" if stored.get("level") == "high" else "notice"
    return Finding(
        rule=str(stored.get("rule", "")),
        version=int(stored.get("version") or 0),
        level=level,
        sentence=str(stored.get("sentence", "")),
        detail=str(stored.get("detail", "")),
        evidence=tuple(map(str, stored.get("evidence") or ())),
        anchor=str(stored.get("anchor", "")),
        points=int(stored.get("points") or 0),
    )


def rule_order(rule: str) -> int:
    """Return the position of a rule in the published order; rules that are no longer
    published come last.
    """
    return _ORDER.get(rule, len(_ORDER))


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by level, then by the weight of their rules."""
    return tuple(sorted(findings, key=lambda f: (_LEVELS[f.level], rule_order(f.rule))))


def may_have_left() -> Finding:
    """Return the finding for a message that was waiting when a backup was made that has
    been restored since.
    """
    sentence = "It was waiting when the restored backup was made. It may already have been approved and sent."
    return finding(
        "restored", sentence, "Check the mail server's log before you approve it."
    )


def counted(number: int, one: str) -> str:
    """Return a number with its noun: "1 link", "3 links"."""
    return f"{number:,} {one if number == 1 else one + 's'}"


ADDRESSES, SUBJECT, SHEET, LINKS, ATTACHMENTS = (
    "#addresses",
    "#subject",
    "#sheet",
    "#links",
    "#attachments",
)

# The view of the message that compares its HTML with its text.
PARTS = "#parts"

# Anchors in the message's own frame, as rendering/marking.py writes them: "#hidden-2"
# is the second box of hidden text.
IN_FRAME = ("#hidden-", "#link-", "#part-", "#ink-")


def address_id(address: str) -> str:
    """Return the id of an address on the page. All spellings share it, and it holds no
    character of the address.
    """
    spelled = normalise_address(address).lower().encode("utf-8", "replace")
    return f"address-{hashlib.blake2b(spelled, digest_size=5).hexdigest()}"


def address_anchor(address: str) -> str:
    """Return the anchor of an address."""
    return f"#{address_id(address)}"


def mark_anchor(mark: str, otherwise: str = SHEET) -> str:
    """Return the anchor of a mark in the frame; another place where the message has no
    such mark.
    """
    return f"#{mark}" if mark else otherwise


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
