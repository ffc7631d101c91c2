"""Finds messages with the same text: identical except for filled-in values, or nearly identical.

Pure and linear. Two messages of one shape may still differ in what matters most, the amount: similarity is a reason to
show them side by side, never to judge one by the other.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from common.fingerprint import Content
from rendering.invisibles import stripped
from rendering.links import host_of
from risk.check_greeting import PARTICLES, TITLES, greeting_of
from risk.money import MONTH_NAMES
from risk.sums import Sums

# Messages whose 64 bits differ in at most so many are alike; those of unrelated messages differ in about 32.
MAX_DISTANCE = 8

# Text after so many characters is compared as it is (shape); words after so many are left out (bands).
MAX_MASKED, MAX_WORDS = 200_000, 4000

# Of ASCII only: mail programs end a link at other characters, and show what follows as text.
_URL = re.compile(r"(?:https?://|www\.)[!#-&*-;=?-Z\\^-~]{1,2000}", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z0-9_.+%'-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}")
# A number with its separators, and several with blanks between: 1.200,00, 9:30, 3/4/2026, 1 200. Letters beside digits
# are words, and so is a currency: a template fills in neither.
_NUMBERS = re.compile(r"\d++(?:[.,:/'’-]\d++)*+(?: \d++(?:[.,:/'’-]\d++)*+)*+")
_ANY_MONTH = "|".join(MONTH_NAMES)
_DATE = re.compile(
    rf"#(?:st|nd|rd|th|\.)?(?: (?:of|de|of the))? (?:{_ANY_MONTH})\b(?:\.?,? (?:de )?#)?"
    rf"|\b(?:{_ANY_MONTH})\b\.? #(?:st|nd|rd|th)?(?:,? #)?"
)
_DIGITS = {ord(str(digit)): f"{chr(ord('k') + digit)}x" for digit in range(10)}
_WORD = re.compile(r"[^\W_]+|[#*@]")
# A name with what stands before and inside it: Ms. * van *.
_NAMES = re.compile(
    rf"(?:\b(?:{'|'.join(sorted(TITLES | PARTICLES))})\b\.?\s){{0,4}}\*"
    rf"(?:\s(?:(?:{'|'.join(sorted(PARTICLES))})\s)?\*){{0,6}}"
)
_SPACES = re.compile(r"\s+")


def shape(content: Content, template: str) -> str:
    """Return the same 32 digits for messages that differ in numbers, amounts, dates, addresses and names greeted only.

    `template` is what the parser gave of its HTML. Empty for a message without words.
    """
    masked = _masked(content, template)
    if not _WORD.search(masked):
        return ""
    kinds = sorted(attachment.name.rpartition(".")[2].lower()[:10] for attachment in content.attachments[:100])
    written = "\n".join((masked, *kinds)).encode("utf-8", "replace")
    return hashlib.blake2b(written, digest_size=16).hexdigest()


def bands(content: Content, template: str) -> list[int]:
    """Return the four bands of a message: 16 bits of a 64-bit simhash each, with the band's index in the bits above.

    Of two messages whose simhashes differ in three bits or fewer, one band is the same. None without words.
    """
    words = _WORD.findall(_masked(content, template)[:MAX_MASKED])[:MAX_WORDS]
    simhash = _simhash(_shingles(words)) if words else None
    if simhash is None:
        return []
    return [index << 16 | simhash >> 16 * index & 0xFFFF for index in range(4)]


def alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two messages with these bands differ in a few words only."""
    if len(one) != 4 or len(other) != 4:
        return False
    return (_joined(one) ^ _joined(other)).bit_count() <= MAX_DISTANCE


def _joined(found: Sequence[int]) -> int:
    return sum((band & 0xFFFF) << 16 * (band >> 16) for band in found)


def _masked(content: Content, template: str) -> str:
    """Return the message's text, with a sign in place of each value that a template would fill in."""
    return _masked_parts(content.subject, content.markdown or "", None if content.html is None else template)


# The same message is asked about several times in a row.
@lru_cache(maxsize=2)
def _masked_parts(subject: str, markdown: str, template: str | None) -> str:
    bodies = [markdown] if template is None else [markdown, template]
    named = next((name for body in bodies if (name := greeting_of(body).words)), ())
    return "\n".join(_mask(text, named) for text in (subject, *bodies) if text)


def _mask(text: str, named: Iterable[str]) -> str:
    text, rest = text[:MAX_MASKED], text[MAX_MASKED:]
    text = unicodedata.normalize("NFKC", stripped(text))
    for name in named:
        text = re.sub(rf"\b{re.escape(name)}\b", "*", text)
    text = _ADDRESS.sub("@", _URL.sub(_host, _NAMES.sub("*", text.lower())))
    return _DATE.sub("#", _NUMBERS.sub("#", _SPACES.sub(" ", text))).strip() + rest


def _host(url: re.Match[str]) -> str:
    """A link is known by the host it goes to, numbers included; its path and its query belong to the one message."""
    address = url.group() if "://" in url.group() else f"http://{url.group()}"
    return f" {re.sub(r'[^a-z]', ' ', host_of(address).translate(_DIGITS))} "


def _shingles(words: Sequence[str]) -> set[str]:
    """Pairs of neighbouring words: a word that changes changes two of them."""
    return {" ".join(pair) for pair in pairwise(words)} or set(words)


def _simhash(shingles: Iterable[str]) -> int:
    """Return 64 bits, each as most of the shingles' hashes have it.

    Each number in `counts` packs the counts of eight bits, so that each byte of a hash costs one addition.
    """
    counts = [0] * 8
    number = 0
    for shingle in shingles:
        number += 1
        digest = hashlib.blake2b(shingle.encode("utf-8", "replace"), digest_size=8).digest()
        for index in range(8):
            counts[index] += _SPREAD[digest[index]]
    bits = 0
    for index in range(64):
        ones = counts[index // 8] >> _LANE * (index % 8) & (1 << _LANE) - 1
        bits |= (2 * ones > number) << index
    return bits


_LANE = 16
_SPREAD = [sum((byte >> bit & 1) << _LANE * bit for bit in range(8)) for byte in range(256)]


def amounts(sums: Sums) -> str:
    """Return the same 32 digits for messages that name the same sums in the same order; empty where none is named."""
    named = " ".join((*sums.named, *sums.unread))
    return hashlib.blake2b(named.encode("utf-8", "replace"), digest_size=16).hexdigest() if named else ""
