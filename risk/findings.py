"""What a finding is and how it is made; what checks know about the desk
(`RiskContext`); the anchors on the message page to which findings lead; and the score,
which is the sum of the points of a message's findings.

In the score each rule counts once, by its heaviest finding. If an admin gave a rule a
weight, that counts instead of its published points.

To add a finding, see `risk/__init__.py`.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from common.ascii import lowered
from common.fingerprint import Content, normalise_address
from rendering import Link, RenderedMessage
from risk.rules import RULES, Level, Rule

# A finding that is milder than its rule counts this fraction of the points: a fifth.
MILDER = 5
MAX_EVIDENCE = 50
# How many findings one check makes at most.
MOST = 20

_QUOTES = dict.fromkeys(map(ord, '“”„‟«»"'), "'")

_ORDER = {name: position for position, name in enumerate(RULES)}
_LEVELS = {"high": 0, "notice": 1}


@dataclass(frozen=True)
class Finding:
    """One finding about a message: a sentence, a second sentence with details, and the
    evidence, such as the addresses or links that it is about.
    """

    rule: str
    version: int
    level: Level
    sentence: str
    detail: str = ""
    evidence: tuple[str, ...] = ()
    # Where on the page the reader finds it, such as "#links".
    anchor: str = ""
    # Its points when it was made. They count if the rule is no longer published.
    points: int = 0


@dataclass(frozen=True)
class Phrase:
    """A word, phrase or pattern that admins entered: as typed, and cut into words as it
    is compared.
    """

    text: str
    words: tuple[str, ...]

    @property
    def spelling(self) -> str:
        """The words as they are compared; equal for two phrases that find the same."""
        return " ".join(self.words)


@dataclass(frozen=True)
class OwnPhrase:
    """A phrase that admins look for, the parts of a message in which they do (PLACES of
    `own_words`), and the points of its finding.
    """

    phrase: Phrase
    looks_in: frozenset[str]
    points: int


@dataclass(frozen=True)
class RiskContext:
    """What the desk knows, for the checks of one message.

    `known_addresses` has how many messages were sent to each address before. `off_list`
    are the recipients that the allowlists refuse, and `watched` those that lists in
    monitor mode would refuse. `own_phrases` are the phrases that admins look for in this mailbox, those with the
    most points first. If the message has both HTML and text, `text_part` is its
    rendered text.
    """

    own_domains: Collection[str] = ()
    known_addresses: Mapping[str, int] = field(default_factory=dict)
    off_list: Collection[str] = ()
    watched: Collection[str] = ()
    own_phrases: Sequence[OwnPhrase] = ()
    text_part: RenderedMessage | None = None


Check = Callable[[Content, RenderedMessage, RiskContext], Iterator[Finding]]


def run_checks(
    checks: Iterable[Check],
    content: Content,
    rendered: RenderedMessage,
    context: RiskContext,
) -> tuple[Finding, ...]:
    """Return the findings of these checks about a message, worst first."""
    return worst_first(
        found
        for check in checks
        for found in islice(check(content, rendered, context), MOST)
    )


def written_links(content: Content, rendered: RenderedMessage) -> list[Link]:
    """Return the links of a message without the gateway's link to unsubscribe."""
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
    """Return a finding of a published rule, at the rule's level or, if milder, as a
    notice. Its texts are cut to a maximum length, because it is stored for good.
    """
    published_rule = RULES[rule]
    pieces = tuple(_cut(piece, 300) for piece in islice(evidence, MAX_EVIDENCE))
    level: Level = "notice" if is_milder else published_rule.level
    return Finding(
        rule,
        published_rule.version,
        level,
        _cut(sentence, 500),
        _cut(detail, 1000),
        pieces,
        anchor,
        counted_points(published_rule, level, published_rule.points),
    )


def not_read_safely(what: str) -> Finding:
    """Return the finding that the process that reads hostile content had to be stopped
    twice. `what` was read, such as "The message"; it begins the sentence.
    """
    detail = "Reading it took too much time or memory, twice. It is not tried again by itself."
    return finding("unsafe_content", f"{what} could not be read safely.", detail)


def one_word(text: str) -> str:
    """Return an address with a sign in place of each blank. With blanks, a made-up
    address could look like a part of the desk's own sentence.
    """
    # A blank at an end counts too, unlike for `split` alone.
    return "␣".join(f"|{text}|".split())[1:-1]


def quoted(text: str, most: int = 80) -> str:
    """Return words of the message in quotation marks; marks inside them are replaced."""
    return f"“{text[:most].translate(_QUOTES)}”"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def counted_points(rule: Rule, level: Level, points: int) -> int:
    """Return the points of a finding of this level if its rule has these points: a
    fifth if the finding is milder than the rule.
    """
    is_milder = rule.level == "high" and level == "notice"
    # At least 1 if the rule has any points, so that the finding stays a notice.
    return max(points // MILDER, min(points, 1)) if is_milder else points


def restored(stored: Mapping[str, Any]) -> Finding:
    """Return a finding from the JSON that is stored with a revision. Its rule may be no
    longer published, and fields may be missing.
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
    """Return findings sorted by level, then in the published order of their rules."""
    return tuple(sorted(findings, key=lambda f: (_LEVELS[f.level], rule_order(f.rule))))


def may_have_left() -> Finding:
    """Return the finding that a backup was restored in which this message still waits,
    so it may have been sent after the backup was made.
    """
    sentence = "It was waiting when the restored backup was made. It may already have been approved and sent."
    return finding(
        "restored", sentence, "Check the mail server's log before you approve it."
    )


def counted(number: int, one: str) -> str:
    """Return a number with its noun: "1 link", "3 links"."""
    return f"{number:,} {one if number == 1 else one + 's'}"


# Anchors on the message page; SHEET is the message itself.
ADDRESSES = "#addresses"
SUBJECT = "#subject"
SHEET = "#sheet"
LINKS = "#links"
ATTACHMENTS = "#attachments"
# Leads to the view of the message that compares its HTML with its text.
PARTS = "#parts"

# How anchors begin that are inside the frame with the rendered message. They are
# written by rendering/marking.py; "#hidden-2" is the second box of hidden text.
IN_FRAME = ("#hidden-", "#link-", "#part-", "#ink-")


def address_id(address: str) -> str:
    """Return the HTML id of an address on the page. It is a hash, because the address
    is hostile text; all spellings of an address have the same id.
    """
    spelled = lowered(normalise_address(address)).encode("utf-8", "replace")
    return f"address-{hashlib.blake2b(spelled, digest_size=5).hexdigest()}"


def address_anchor(address: str) -> str:
    """Return the anchor of an address on the page."""
    return f"#{address_id(address)}"


def mark_anchor(mark: str, otherwise: str = SHEET) -> str:
    """Return the anchor of a mark in the message's frame; `otherwise` if it is empty."""
    return f"#{mark}" if mark else otherwise


# A message with at least so many points has high risk; with fewer, but some, it has the
# level notice.
HIGH = 50

# By level, the points of a finding that was stored without points and whose rule is no
# longer published.
_UNPUBLISHED = {"high": HIGH, "notice": 10}


@dataclass(frozen=True)
class Part:
    """What one rule adds to the score: "look-alike 70". `published` is what it would
    add if no admin had set a weight.
    """

    rule: str
    words: str
    points: int
    published: int


@dataclass(frozen=True)
class Score:
    """The sum of the points of a message's findings, and its parts, heaviest first.
    Parts without points come last.
    """

    points: int = 0
    level: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The short names of the rules that add points, heaviest first."""
        return tuple(part.words for part in self.parts if part.points and part.words)


def score(findings: Iterable[Finding], weights: Mapping[str, int]) -> Score:
    """Return the score of findings. `weights` has the points that admins set, by rule;
    rules without one count as published.
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
        heaviest_so_far = heaviest.get(finding.rule)
        if heaviest_so_far is None or (part.points, part.published) > (
            heaviest_so_far.points,
            heaviest_so_far.published,
        ):
            heaviest[finding.rule] = part
    parts = sorted(
        heaviest.values(), key=lambda part: (-part.points, rule_order(part.rule))
    )
    points = sum(part.points for part in parts)
    return Score(points, level_of(points), tuple(parts))


def score_of(stored: Iterable[Mapping[str, Any]], weights: Mapping[str, int]) -> Score:
    """Return the score of findings in the JSON form that is stored with a revision."""
    return score(map(restored, stored), weights)


def points_of(finding: Finding, weights: Mapping[str, int]) -> int:
    """Return the points of a finding, by the admin's weight for its rule if any."""
    rule = RULES.get(finding.rule)
    if rule is None or rule.points_by_finding:
        return finding.points or _UNPUBLISHED[finding.level]
    return counted_points(rule, finding.level, weights.get(rule.name, rule.points))


def level_of(points: int) -> str:
    """Return the level of a number of points: "high", "notice", or empty for 0."""
    return "high" if points >= HIGH else "notice" if points else ""
