"""Checks whether one domain or name could be mistaken for another, because of similar
characters or a typing error; and aligns the two, so that a page can show the
difference.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import filterfalse, groupby
from typing import Any

from rapidfuzz.distance import OSA, Levenshtein

from common.ascii import lowered
from common.domains import registered_domain
from rendering.invisibles import stripped
from rendering.links import scripts, unicode_host

# The longest domain that DNS can look up.
MAX_DOMAIN = 253

# Big mail providers. They are not compared: they resemble each other by chance
# (mail.com, gmail.com), and everybody writes to them.
PROVIDERS = frozenset(
    "gmail.com mail.com ymail.com email.com hotmail.com outlook.com live.com msn.com yahoo.com aol.com icloud.com "
    "me.com mac.com gmx.net gmx.com gmx.de web.de proton.me protonmail.com pm.me fastmail.com hey.com zoho.com "
    "mail.ru qq.com 163.com 126.com t-online.de freenet.de orange.fr free.fr wanadoo.fr libero.it".split()
)
# Pairs of letters that look like one letter.
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_CYRILLIC = "аеорсухіјѕԁһӏьгкмтвнԛԝ"
_GREEK = "αεορςυνικτω"
# Digits, signs, Cyrillic and Greek letters, and the Latin letters they look like.
_LETTERS = str.maketrans(
    f"01345|iıɡɑð℮п{_CYRILLIC}{_GREEK}",
    "oleaslllgadenaeopcyxljsdhlbrkmtbhqwaeopcuvlktw",
)
# The names of letters that look like a Latin one: small capitals, letters with a hook
# or a stroke, those of Lisu.
_LETTER_NAME = re.compile(r"(?:LATIN|LISU) .{0,60}?([A-Z])(?: WITH .{0,60})?")
# Letters of other scripts that pass for Latin ones.
_PASSES = frozenset(_CYRILLIC + _GREEK)


# By domain, in order: its registered domain, the skeleton of that, and the characters
# of the skeleton.
Looks = Mapping[str, tuple[str, str, frozenset[str]]]


def looks_of(domains: Iterable[str]) -> Looks:
    """Return the looks of known domains, computed once."""
    found = {}
    for domain in sorted(domains):
        registered = registered_domain(domain)
        looks = skeleton(registered)
        found[domain] = (registered, looks, frozenset(looks))
    return found


def lookalike_of(domain: str, known: Looks) -> str:
    """Return the known domain that `domain` could be mistaken for; empty if there is
    none, or if it is a known domain or a subdomain of one.
    """
    if len(domain) > MAX_DOMAIN:
        return ""
    labels = domain.split(".")
    # Every run of two or more labels: "a.b.c" has "a.b", "b.c" and "a.b.c".
    inside = {
        ".".join(labels[a:b])
        for a in range(len(labels))
        for b in range(a + 2, len(labels) + 1)
    }
    if any(".".join(labels[a:]) in known for a in range(len(labels) - 1)):
        return ""
    if contained := sorted(inside & known.keys()):
        return contained[0]
    own_registered = registered_domain(domain)
    looks = skeleton(own_registered)
    characters = frozenset(looks)
    for other, (registered, other_skeleton, other_characters) in known.items():
        if own_registered == registered:
            continue
        # Comparing the sets of characters first saves most of the slow comparisons.
        if looks == other_skeleton or (
            len(characters ^ other_characters) <= 4 and is_near(looks, other_skeleton)
        ):
            return other
    return ""


@lru_cache(maxsize=8192)
def skeleton(domain: str) -> str:
    """Return a domain with each character replaced by the Latin letter that it looks
    like. Domains that look alike have the same skeleton.
    """
    text = unicodedata.normalize("NFKD", unicode_host(domain)).casefold()
    text = "".join(filterfalse(unicodedata.combining, text)).translate(_LETTERS)
    if not text.isascii():
        text = "".join(map(_as_latin, text))
    for pair, character in _PAIRS:
        text = text.replace(pair, character)
    return text


def looks_like(name: str, others: Iterable[str]) -> str:
    """Return the first of these other names that a person could take for this one, or
    for a part of it; empty if there is none.
    """
    looks = look_of(name)
    parts = _looks_in(name)
    return next(
        (one for one in others if look_of(one) in parts or looks in _looks_in(one)), ""
    )


def _looks_in(name: str) -> set[str]:
    """Return the look of a name, and of its parts between commas, "and" and "or":
    sentences join names so.
    """
    parts: list[list[str]] = [[]]
    for word in name.replace(",", " or ").split():
        if look_of(word) in ("and", "or"):
            parts.append([])
        else:
            parts[-1].append(word)
    return {look_of(name), *(look_of(" ".join(one)) for one in parts if one)}


def look_of(name: str) -> str:
    """Return the letters and digits that people see in a name: "Finance." and "finance"
    have the same look.
    """
    looks = skeleton(stripped(name))
    return "".join(filter(str.isalnum, looks)) or looks


@lru_cache(maxsize=8192)
def _as_latin(character: str) -> str:
    name = _LETTER_NAME.fullmatch(unicodedata.name(character, ""))
    return name[1].lower() if name else character


def is_near(first: str, second: str) -> bool:
    """Whether two names differ by one typing error, or by two if both are long."""
    shorter = min(len(name.partition(".")[0]) for name in (first, second))
    limit = 2 if shorter >= 9 else 1
    return shorter >= 4 and 0 < OSA.distance(first, second, score_cutoff=limit) <= limit


def is_one_slip_apart(first: str, second: str) -> bool:
    """Whether two names differ by one letter changed, added, left out or swapped with
    its neighbour.
    """
    return OSA.distance(first, second, score_cutoff=1) == 1


# How many characters of a comparison are shown. A phone has room for no more.
COLUMNS = 24


@dataclass(frozen=True)
class Comparison:
    """A name and the known name that it looks like, each cut into runs of characters:
    (whether they differ from the other name, the characters).

    Both have the same length: if one name lacks a character, it has a space there.
    """

    written: list[tuple[bool, str]]
    known: list[tuple[bool, str]]

    @property
    def in_words(self) -> str:
        """The differences for screen readers: `“1” for “l”`."""
        pairs = zip(self.written, self.known, strict=True)
        return ", ".join(
            f"“{written_run.strip()}” for “{known_run.strip()}”"
            for (differs, written_run), (_, known_run) in pairs
            if differs
        )


def alike_pairs(findings: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (address, known name that it looks like) from stored findings about
    look-alikes. The known name is a domain or an address.
    """
    for one in findings:
        evidence: Sequence[str] = one.get("evidence") or ()
        if one.get("rule") == "lookalike_recipient" and len(evidence) > 1:
            yield lowered(evidence[0]), evidence[1]


def compare_names(address: str, known: str) -> Comparison:
    """Return a look-alike aligned with what it looks like: the domain of `address` with
    a known domain, or the whole address with a known address.

    Only registered domains are aligned; what is before them is shown unchanged. If the
    domain contains the known domain, the whole domain is aligned.
    """
    if "@" in known:
        return _aligned("", address, known)
    domain = address.rpartition("@")[2].lower()
    if known in domain:
        return _aligned("", unicode_host(domain), unicode_host(known))
    registered = registered_domain(domain)
    before = unicode_host(domain.removesuffix(registered))
    return _aligned(
        before, unicode_host(registered), unicode_host(registered_domain(known))
    )


def _aligned(before: str, written: str, known: str) -> Comparison:
    """Return two names aligned, each after the text `before`. Of more than COLUMNS
    characters, those around the first difference are kept, with an ellipsis for an end
    that is left out.
    """
    columns = [(one, one) for one in before]
    for step in Levenshtein.opcodes(written, known):
        part = written[step.src_start : step.src_end]
        known_part = known[step.dest_start : step.dest_end]
        width = max(len(part), len(known_part))
        columns += zip(part.ljust(width), known_part.ljust(width), strict=True)
    if len(columns) > COLUMNS:
        differing = (
            at for at, (one, known_part) in enumerate(columns) if one != known_part
        )
        first = next(differing, 0)
        start = max(0, min(first - COLUMNS // 4, len(columns) - COLUMNS))
        end = start + COLUMNS
        cut = [("…", "…")]
        left = cut if start else []
        right = cut if end < len(columns) else []
        columns = left + columns[start:end] + right
    comparison = Comparison([], [])
    for differs, run in groupby(columns, key=lambda pair: pair[0] != pair[1]):
        written_run, known_run = zip(*run, strict=True)
        comparison.written.append((differs, "".join(written_run)))
        comparison.known.append((differs, "".join(known_run)))
    return comparison


def has_mixed_scripts(name: str) -> bool:
    """Whether one word of a domain or name is written with letters of more than one
    script.
    """
    return any(
        len(scripts(word)) > 1 for word in unicode_host(name[:MAX_DOMAIN]).split(".")
    )


def passes_for_latin(name: str) -> bool:
    """Whether a word of a domain or name consists only of Cyrillic or Greek letters
    that look like Latin ones.
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
