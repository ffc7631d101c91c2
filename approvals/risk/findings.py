"""What a finding is, the published names of the rules, and what the desk knows that rules may use.

A rule's version is raised with every change that could judge an old letter differently: findings are stored with the
revision they were made for.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["high", "notice"]


@dataclass(frozen=True)
class Rule:
    """A rule as it is published: its name never changes, `words` are what the list shows."""

    name: str
    version: int
    level: Level
    words: str
    about: str


# In the order of weight: the first is the worst.
RULES = {
    rule.name: rule
    for rule in (
        Rule("lookalike_recipient", 1, "high", "look-alike", "A recipient's address resembles a known one."),
        Rule("link_text_lies", 1, "high", "link lies", "A link's text names another address than it opens."),
        Rule("hidden_text", 1, "high", "hidden text", "The letter holds text that its recipient would not see."),
        Rule("secret_in_body", 1, "high", "secret", "The letter seems to hold a key or password."),
        Rule("attachment_runs_code", 1, "high", "runs code", "An attachment can run code when it is opened."),
        Rule("shown_as_source", 1, "high", "not laid out", "The letter could not be laid out and is shown as source."),
        Rule("parts_differ", 1, "high", "parts differ", "The HTML and the text of the letter say different things."),
        Rule("invisible_characters", 1, "high", "invisible marks", "The letter holds characters that show nothing."),
        Rule("odd_link", 1, "notice", "odd link", "A link's address is written in a way that misleads."),
        Rule("many_recipients", 1, "notice", "many people", "The letter goes to many people."),
        Rule("payment_details", 1, "notice", "payment", "The letter holds a bank account or card number."),
        Rule("first_contact", 1, "notice", "first contact", "Nobody here has written to this address before."),
        Rule("remote_content", 1, "notice", "remote content", "The letter would load something from elsewhere."),
        Rule("not_visible", 1, "notice", "parts unseen", "Some fields cannot be read with this connection's key."),
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


@dataclass(frozen=True)
class RiskContext:
    """What the desk knows: its own domains, and how often each known address was written to."""

    own_domains: Collection[str] = ()
    known_addresses: Mapping[str, int] = field(default_factory=dict)


def finding(
    rule: str, sentence: str, detail: str = "", evidence: Iterable[str] = (), level: Level | None = None
) -> Finding:
    """Return a finding of a registered rule. Evidence is cut short: it is kept with the revision for good."""
    registered = RULES[rule]
    cut = tuple(piece if len(piece) <= 300 else piece[:299] + "…" for piece in evidence)
    return Finding(rule, registered.version, level or registered.level, sentence, detail, cut[:50])


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by level, then by the weight of their rules."""
    return tuple(sorted(findings, key=lambda f: (_LEVELS[f.level], _ORDER.get(f.rule, len(_ORDER)))))


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: "1 link", "3 links"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
