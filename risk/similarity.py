"""Computes the shape of a message, a hash that is the same for messages that were
filled in from one template: identical except for names, numbers, dates and addresses.

Pure, and in linear time. Two messages of one shape may still differ in the amount,
which matters most. So similar messages may be shown side by side, but no message may be
judged by a similar one.
"""

import hashlib
import json
import re
from functools import lru_cache
from itertools import zip_longest

from common.fingerprint import Content
from common.words import normalized
from rendering import ParsedContent
from rendering.invisibles import stripped
from rendering.links import find_hosts, origin_of, readable
from rendering.result import TAG, without_marks
from risk.check_greeting import PARTICLES, TITLES, greeting_of
from risk.money import MONTH_NAMES
from risk.sums import Sums

# Values are masked only within so many characters; the rest must be equal.
MAX_MASKED = 200_000

# Marks in a masked text, in place of the values that were filled in. The text of a
# message does not contain these characters.
_NAME = "\ue001"
_ADDRESS = "\ue002"
_NUMBER = "\ue003"
_MONTH = "\ue004"

# A link, of ASCII only: mail programs end a link at any other character, and show what
# follows as text.
_URL = re.compile(r"(?:https?://|www\.)[!#-&*-;=?-Z\\^-~]{1,2000}", re.IGNORECASE)
_MAIL_ADDRESS = re.compile(
    r"[a-z0-9_.+%'-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}"
)
# A number with its separators, or several numbers with blanks between: 1.200,00, 9:30,
# 3/4/2026, 1 200. Letters next to digits and currencies are not part of it, because a
# template does not fill them in.
_NUMBERS = re.compile(r"\d++(?:[.,:/'’-]\d++)*+(?: \d++(?:[.,:/'’-]\d++)*+)*+")
_ANY_MONTH = "|".join(MONTH_NAMES)
# A month after or before a number that is its day or year. Elsewhere a month is not
# masked, because it may be an ordinary word ("it may come").
_MONTH_AFTER = re.compile(
    rf"(?P<day>{_NUMBER})(?:st|nd|rd|th)?(?P<between>\.?(?: (?:of|de|of the))? )(?:{_ANY_MONTH})\b"
)
_MONTH_BEFORE = re.compile(
    rf"\b(?:{_ANY_MONTH})\b(?P<between>\.? )(?P<day>{_NUMBER})(?:st|nd|rd|th)?\b"
)
# Replaces the marks by signs that count as words, for the test whether a text is empty.
_SIGNS = str.maketrans({_NAME: "*", _ADDRESS: "@", _NUMBER: "#", _MONTH: ""})
_WORD = re.compile(r"[^\W_]+|[#*@]")
_ANY_PARTICLE = "|".join(sorted(PARTICLES))
# What may stand between the words of a name: a hyphen, a blank, "van", "de la".
_INSIDE_NAME = rf"(?:[-'’]|\s(?:(?:{_ANY_PARTICLE})\s){{0,3}})"
_TITLES = re.compile(
    rf"(?:\b(?:{'|'.join(sorted(TITLES | PARTICLES))})\b\.?\s){{1,4}}(?={_NAME})",
    re.IGNORECASE,
)
_SPACES = re.compile(r"\s+")


def shape(content: Content, parsed: ParsedContent) -> str:
    """Return a hash of 32 digits, the same for messages that differ only in numbers,
    dates, mail addresses and the greeted name. Empty for a message without words.

    The hosts of links, the markup and the types of attached files must be the same.
    """
    # As mail programs without HTML show it, and as those with HTML do.
    texts = [without_marks(content.subject), without_marks(content.markdown or "")]
    texts += [one.text for one in parsed.outlines]
    masked = "\n".join(map(_mask, texts))
    if not _WORD.search(masked.translate(_SIGNS)):
        return ""
    kinds = sorted(
        attachment.name.rpartition(".")[2].lower()[:10]
        for attachment in content.attachments[:100]
    )
    origins = [
        [origin_of(link.target) for link in one.links] for one in parsed.renderings
    ]
    markup = [one.markup for one in parsed.outlines]
    written = json.dumps([masked, origins, markup, kinds]).encode()
    return hashlib.blake2b(written, digest_size=16).hexdigest()


# Cached: the texts of one message are masked several times in a row.
@lru_cache(maxsize=8)
def _mask(text: str) -> str:
    """Return a text with a mark in place of each value that a template would fill in."""
    rest = text[MAX_MASKED:]
    text = normalized("NFKC", stripped(text[:MAX_MASKED]))
    # Only the name in the greeting is masked. Elsewhere, words in the place of a name
    # could say anything.
    if words := greeting_of(text.replace(TAG, "")).words:
        name = _INSIDE_NAME.join(map(re.escape, words))
        text = _TITLES.sub("", re.sub(rf"\b{name}\b", _NAME, text, count=1))
    text = _SPACES.sub(" ", text.lower())
    masked = ""
    hosts: list[str] = []
    for between, url in zip_longest(_URL.split(text), _URL.findall(text)):
        # Mail programs turn hosts without http:// into links too, so they are compared.
        hosts += [one.host for one in find_hosts(readable(between)) if not one.local]
        between = _NUMBERS.sub(_NUMBER, _MAIL_ADDRESS.sub(_ADDRESS, between))
        between = _MONTH_AFTER.sub(rf"\g<day>\g<between>{_MONTH}", between)
        masked += _MONTH_BEFORE.sub(rf"{_MONTH}\g<between>\g<day>", between)
        if url:
            # Of a link, scheme and host are compared; path and query may differ.
            target = url if "://" in url[:8] else f"http://{url}"
            masked += f" {origin_of(target)} "
    return " ".join((masked.strip(), *hosts)) + rest


def amounts(sums: Sums) -> str:
    """Return a hash of 32 digits, the same for messages that name the same sums in the
    same order; empty if there are none.
    """
    named = " ".join((*sums.named, *sums.unread))
    return (
        hashlib.blake2b(named.encode("utf-8", "replace"), digest_size=16).hexdigest()
        if named
        else ""
    )
