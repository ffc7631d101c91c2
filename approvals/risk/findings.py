"""What a finding is, the published names of the rules, and what the desk knows that rules may use.

A rule's version is raised with every change that could judge an old letter differently: findings are stored with the
revision they were made for.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

Level = Literal["high", "notice"]

# A finding that its own rule made milder counts the fifth part of its points.
MILDER = 5
MAX_EVIDENCE = 50


@dataclass(frozen=True)
class Rule:
    """A rule as it is published: its name never changes, `words` are what the list shows.

    `level` and `points` are those of its worst finding; a rule may call one of its findings milder, never worse.
    """

    name: str
    version: int
    level: Level
    points: int
    words: str
    about: str


# In the order of weight: the first is the worst.
RULES = {
    rule.name: rule
    for rule in (
        Rule("lookalike_recipient", 1, "high", 70, "look-alike", "A recipient's address resembles a known one."),
        Rule("attachment_runs_code", 1, "high", 70, "runs code", "An attachment can run code when it is opened."),
        Rule("link_text_lies", 1, "high", 60, "link lies", "A link's text names another address than it opens."),
        Rule("hidden_text", 1, "high", 60, "hidden text", "The letter holds text that its recipient would not see."),
        Rule("secret_in_body", 1, "high", 60, "secret", "The letter seems to hold a key or password."),
        Rule(
            "parts_differ", 1, "high", 60, "parts differ", "The HTML and the text of the letter say different things."
        ),
        Rule(
            "shown_as_source", 1, "high", 50, "not laid out", "The letter could not be laid out: its source is shown."
        ),
        Rule(
            "invisible_characters", 1, "high", 50, "invisible marks", "The letter holds characters that show nothing."
        ),
        Rule("odd_link", 2, "high", 50, "odd link", "A link's address is written in a way that misleads."),
        Rule("many_recipients", 2, "high", 50, "many people", "The letter goes to many people."),
        Rule("payment_details", 1, "notice", 20, "payment", "The letter holds a bank account or card number."),
        Rule("first_contact", 1, "notice", 10, "first contact", "Nobody here has written to this address before."),
        Rule("remote_content", 1, "notice", 5, "remote content", "The letter would load something from elsewhere."),
        Rule("not_visible", 1, "notice", 5, "parts unseen", "Some fields cannot be read with this connection's key."),
    )
}
_ORDER = {name: place for place, name in enumerate(RULES)}
_LEVELS = {"high": 0, "notice": 1}


@dataclass(frozen=True)
class Finding:
    """One thing that was seen in a letter: a sentence, a detail that follows it, and what it rests on."""

    rule: str
    version: int
    level: Level
    sentence: str
    detail: str = ""
    evidence: tuple[str, ...] = ()
    # Where on the page the reader finds it, such as "#links".
    anchor: str = ""
    # What it counts by the points its rule was published with, kept for rules that are published no more.
    points: int = 0


@dataclass(frozen=True)
class RiskContext:
    """What the desk knows: its own domains, and how often each known address was written to."""

    own_domains: Collection[str] = ()
    known_addresses: Mapping[str, int] = field(default_factory=dict)


def finding(
    rule: str,
    sentence: str,
    detail: str = "",
    evidence: Iterable[str] = (),
    level: Level | None = None,
    *,
    anchor: str = "",
) -> Finding:
    """Return a finding of a registered rule. Evidence is cut short: it is kept with the revision for good."""
    registered = RULES[rule]
    cut = tuple(piece if len(piece) <= 300 else piece[:299] + "…" for piece in islice(evidence, MAX_EVIDENCE))
    found = level or registered.level
    points = counted_points(registered, found, registered.points)
    return Finding(rule, registered.version, found, sentence, detail, cut, anchor, points)


def counted_points(rule: Rule, level: Level, points: int) -> int:
    """Return what a finding of this level counts where its rule has so many points: a fifth where it is milder."""
    is_milder = rule.level == "high" and level == "notice"
    # What is worth one point stays a notice.
    return max(points // MILDER, min(points, 1)) if is_milder else points


def restored(stored: Mapping[str, Any]) -> Finding:
    """Return a finding as it is stored with a revision. Rules of another version may have other names and fields."""
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


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by level, then by the weight of their rules."""
    return tuple(sorted(findings, key=lambda f: (_LEVELS[f.level], _ORDER.get(f.rule, len(_ORDER)))))


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: "1 link", "3 links"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
