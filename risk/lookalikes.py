"""Checks whether one domain or name could be mistaken for another: by similar
characters, or by typing errors.
"""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from rapidfuzz.distance import OSA

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
