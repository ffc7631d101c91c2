"""Checks whether one domain or name could be mistaken for another: by similar
characters, or by typing errors.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from rapidfuzz.distance import OSA, Levenshtein

from common.domains import registered_domain
from rendering.links import scripts, unicode_host

# The longest domain that DNS can look up.
MAX_DOMAIN = 253

# Providers resemble each other by chance (mail.com, gmail.com), and everybody writes to
# them.
PROVIDERS = frozenset(
    "gmail.com mail.com ymail.com email.com hotmail.com outlook.com live.com msn.com yahoo.com aol.com icloud.com "
    "me.com mac.com gmx.net gmx.com gmx.de web.de proton.me protonmail.com pm.me fastmail.com hey.com zoho.com "
    "mail.ru qq.com 163.com 126.com t-online.de freenet.de orange.fr free.fr wanadoo.fr libero.it".split()
)
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_CYRILLIC = "аеорсухіјѕԁһӏьгкмтвнԛԝ"
_GREEK = "αεορςυνικτω"
# Digits and signs that pass for letters, then Cyrillic and Greek letters that look
# Latin.
_LETTERS = str.maketrans(
    f"01345|iıɡɑ{_CYRILLIC}{_GREEK}",
    "oleaslllgaaeopcyxljsdhlbrkmtbhqwaeopcuvlktw",
)
_PASSES = frozenset(_CYRILLIC + _GREEK)


def lookalike_of(domain: str, known: "KnownDomains") -> str:
    """Return the known domain that `domain` could be taken for; empty when there is
    none or it is that domain.
    """
    if len(domain) > MAX_DOMAIN:
        return ""
    labels = domain.split(".")
    inside = {
        ".".join(labels[a:b])
        for a in range(len(labels))
        for b in range(a + 2, len(labels) + 1)
    }
    if any(part in known.domains and domain.endswith(part) for part in inside):
        return ""
    if held := sorted(inside & known.domains):
        return held[0]
    mine = registered_domain(domain)
    looks = skeleton(mine)
    characters = frozenset(looks)
    for other, registered, other_skeleton, other_characters in known.looks:
        if mine == registered:
            continue
        if looks == other_skeleton or (
            len(characters ^ other_characters) <= 4 and is_near(looks, other_skeleton)
        ):
            return other
    return ""


class KnownDomains:
    """Known domains with what each looks like, worked out once."""

    def __init__(self, domains: Iterable[str]) -> None:
        self.domains = frozenset(domains)
        self.looks = []
        for domain in sorted(self.domains):
            registered = registered_domain(domain)
            looks = skeleton(registered)
            self.looks.append((domain, registered, looks, frozenset(looks)))


@lru_cache(maxsize=8192)
def skeleton(domain: str) -> str:
    """Return what a domain looks like at a glance: confusable letters and pairs of
    letters made one.
    """
    text = unicodedata.normalize("NFKD", unicode_host(domain)).casefold()
    text = "".join(c for c in text if not unicodedata.combining(c)).translate(_LETTERS)
    for pair, character in _PAIRS:
        text = text.replace(pair, character)
    return text


def is_near(first: str, second: str) -> bool:
    """Whether two names differ by one typing error, or by two where both are long."""
    shorter = min(len(name.partition(".")[0]) for name in (first, second))
    limit = 2 if shorter >= 9 else 1
    return shorter >= 4 and 0 < OSA.distance(first, second, score_cutoff=limit) <= limit


def is_one_slip_apart(first: str, second: str) -> bool:
    """Whether two names differ by one letter changed, added, left out or swapped with
    its neighbour.
    """
    return OSA.distance(first, second, score_cutoff=1) == 1


# How many columns of a comparison are shown: what a phone has room for.
COLUMNS = 24


@dataclass(frozen=True)
class Comparison:
    """A name as it is written over a known one, in runs of equal and of differing
    characters; True for those that differ.

    A space stands where the other name has one character more.
    """

    written: list[tuple[bool, str]]
    known: list[tuple[bool, str]]

    @property
    def in_words(self) -> str:
        """What differs, for people who do not see it: `“1” for “l”`."""
        pairs = zip(self.written, self.known, strict=True)
        return ", ".join(
            f"“{mine.strip()}” for “{other.strip()}”"
            for (differs, mine), (_, other) in pairs
            if differs
        )


def alike_pairs(findings: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the addresses that stored findings call look-alikes, each with the known
    name that it looks like.
    """
    for one in findings:
        evidence: Sequence[str] = one.get("evidence") or ()
        if one.get("rule") == "lookalike_recipient" and len(evidence) > 1:
            yield evidence[0].lower(), evidence[1]


def compare_names(address: str, known: str) -> Comparison:
    """Return an address's domain aligned with the known domain that it looks like, or
    with a whole known address.

    What stands before the registered domain is not part of the likeness, unless the
    known name is in it.
    """
    if "@" in known:
        return _aligned("", address, known)
    domain = address.rpartition("@")[2].lower()
    if known in domain:
        return _aligned("", unicode_host(domain), unicode_host(known))
    mine = registered_domain(domain)
    before = unicode_host(domain.removesuffix(mine))
    return _aligned(before, unicode_host(mine), unicode_host(registered_domain(known)))


def _aligned(before: str, written: str, known: str) -> Comparison:
    """Return two names, aligned behind what stands before both; a long one around the
    first character that differs, with an ellipsis for each end that was left out.
    """
    columns = [(one, one) for one in before]
    for step in Levenshtein.opcodes(written, known):
        mine = written[step.src_start : step.src_end]
        other = known[step.dest_start : step.dest_end]
        width = max(len(mine), len(other))
        columns += zip(mine.ljust(width), other.ljust(width), strict=True)
    if len(columns) > COLUMNS:
        differing = (at for at, (one, other) in enumerate(columns) if one != other)
        first = next(differing, 0)
        start = max(0, min(first - COLUMNS // 4, len(columns) - COLUMNS))
        end = start + COLUMNS
        cut = [("…", "…")]
        left = cut if start else []
        right = cut if end < len(columns) else []
        columns = left + columns[start:end] + right
    comparison = Comparison([], [])
    for differs, run in groupby(columns, key=lambda pair: pair[0] != pair[1]):
        ours, theirs = zip(*run, strict=True)
        comparison.written.append((differs, "".join(ours)))
        comparison.known.append((differs, "".join(theirs)))
    return comparison


def has_mixed_scripts(name: str) -> bool:
    """Whether one word of a domain or name is written with letters of more than one
    script.
    """
    return any(
        len(scripts(word)) > 1 for word in unicode_host(name[:MAX_DOMAIN]).split(".")
    )


def passes_for_latin(name: str) -> bool:
    """Whether a word of a domain or name is of one other script, and each of its
    letters is taken for a Latin one.
    """
    for word in unicode_host(name[:MAX_DOMAIN]).split("."):
        characters = [character for character in word.casefold() if character.isalpha()]
        if (
            len(characters) > 2
            and not word.isascii()
            and all(character in _PASSES for character in characters)
        ):
            return True
    return False
