"""What a finding is and how it is made; what checks know about the desk
(`RiskContext`); and the anchors on the message page to which findings lead.

To add a finding, see `risk/__init__.py`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from common.ascii import lowered
from common.fingerprint import Content, normalise_address
from rendering import Link, RenderedMessage
from risk.rules import RULES, Level

MAX_EVIDENCE = 50
# How many findings of one check are kept.
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


@dataclass(frozen=True)
class RiskContext:
    """What the desk knows, for the checks of one message.

    `own_domains` are the organisation's, in lower case and without a final dot.
    `known_addresses` has how many messages were sent to each address before. If
    the message has both HTML and text, `text_part` is its rendered text, and
    `differences` are passages of both that differ.
    """

    own_domains: frozenset[str] = frozenset()
    known_addresses: Mapping[str, int] = field(default_factory=dict)
    text_part: RenderedMessage | None = None
    differences: Sequence[tuple[str, str, bool]] = ()


Check = Callable[[Content, RenderedMessage, RiskContext], Iterator[Finding]]


def run_checks(
    checks: Iterable[Check],
    content: Content,
    rendered: RenderedMessage,
    context: RiskContext,
) -> tuple[Finding, ...]:
    """Return the worst findings of each check about a message, worst first."""
    return worst_first(
        found
        for check in checks
        for found in worst_first(check(content, rendered, context))[:MOST]
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
    )


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings sorted by level, then in the published order of their rules; rules
    that are no longer published come last.
    """
    last = len(_ORDER)
    return tuple(
        sorted(findings, key=lambda f: (_LEVELS[f.level], _ORDER.get(f.rule, last)))
    )


def level_of(findings: Iterable[Finding]) -> str:
    """Return the risk of a message with these findings: the level of the worst one,
    empty if there are none.
    """
    return min((one.level for one in findings), key=_LEVELS.__getitem__, default="")


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
