"""Finds messages with the same text: identical except for filled-in values.

Pure and linear. Two messages of one shape may still differ in what matters most, the
amount: similarity is a reason to show them side by side, never to judge one by the
other.
"""

import hashlib
import json
import re
import unicodedata
from functools import lru_cache
from itertools import zip_longest

from common.fingerprint import Content
from rendering import ParsedContent
from rendering.invisibles import stripped
from rendering.links import find_hosts, origin_of, readable
from rendering.result import TAG, without_marks
from risk.check_greeting import PARTICLES, TITLES, greeting_of
from risk.money import MONTH_NAMES
from risk.sums import Sums

# Text after so many characters is compared as it is.
MAX_MASKED = 200_000

# Stand in a masked text for what was filled in. No message's own text holds them.
_NAME = "\ue001"
_ADDRESS = "\ue002"
_NUMBER = "\ue003"
_MONTH = "\ue004"

# Of ASCII only: mail programs end a link at other characters, and show what follows as
# text.
_URL = re.compile(r"(?:https?://|www\.)[!#-&*-;=?-Z\\^-~]{1,2000}", re.IGNORECASE)
_MAIL_ADDRESS = re.compile(
    r"[a-z0-9_.+%'-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}"
)
# A number with its separators, and several with blanks between: 1.200,00, 9:30,
# 3/4/2026, 1 200. Letters beside digits are words, and so is a currency: a template
# fills in neither.
_NUMBERS = re.compile(r"\d++(?:[.,:/'’-]\d++)*+(?: \d++(?:[.,:/'’-]\d++)*+)*+")
_ANY_MONTH = "|".join(MONTH_NAMES)
# A month beside its day or year. Of these only the month is filled in: a month is a
# word, too ("5 may come").
_MONTH_AFTER = re.compile(
    rf"(?P<day>{_NUMBER})(?:st|nd|rd|th)?(?P<between>\.?(?: (?:of|de|of the))? )(?:{_ANY_MONTH})\b"
)
_MONTH_BEFORE = re.compile(
    rf"\b(?:{_ANY_MONTH})\b(?P<between>\.? )(?P<day>{_NUMBER})(?:st|nd|rd|th)?\b"
)
_SIGNS = str.maketrans({_NAME: "*", _ADDRESS: "@", _NUMBER: "#", _MONTH: ""})
_WORD = re.compile(r"[^\W_]+|[#*@]")
_ANY_PARTICLE = "|".join(sorted(PARTICLES))
# What stands between the words of a name: van, de la.
_INSIDE_NAME = rf"(?:[-'’]|\s(?:(?:{_ANY_PARTICLE})\s){{0,3}})"
_TITLES = re.compile(
    rf"(?:\b(?:{'|'.join(sorted(TITLES | PARTICLES))})\b\.?\s){{1,4}}(?={_NAME})",
    re.IGNORECASE,
)
_SPACES = re.compile(r"\s+")


def shape(content: Content, parsed: ParsedContent) -> str:
    """Return the same 32 digits for messages that differ in numbers, dates, addresses
    and the name greeted only.

    Where links go and the markup are part of it as they are. Empty for a message
    without words.
    """
    masked = "\n".join(
        map(_mask, [*_written(content), *(one.text for one in parsed.outlines)])
    )
    if not _WORD.search(masked.translate(_SIGNS)):
        return ""
    kinds = sorted(
        attachment.name.rpartition(".")[2].lower()[:10]
        for attachment in content.attachments[:100]
    )
    shown = filter(None, (parsed.shown, parsed.text_part))
    origins = [[origin_of(link.target) for link in one.links] for one in shown]
    markup = [one.markup for one in parsed.outlines]
    written = json.dumps([masked, origins, markup, kinds]).encode()
    return hashlib.blake2b(written, digest_size=16).hexdigest()


def _written(content: Content) -> list[str]:
    """Return what is shown as it is written: the subject, and the text as mail programs
    without HTML show it.
    """
    return [without_marks(content.subject), without_marks(content.markdown or "")]


# The texts of the same message are asked about several times in a row.
@lru_cache(maxsize=8)
def _mask(text: str) -> str:
    """Return a text with a mark in place of each value that a template would fill in."""
    text, rest = text[:MAX_MASKED], text[MAX_MASKED:]
    text = unicodedata.normalize("NFKC", stripped(text))
    # The name is masked where it is greeted. Anywhere else, the words that stand in its
    # place could say anything.
    if words := greeting_of(text.replace(TAG, "")).words:
        name = _INSIDE_NAME.join(map(re.escape, words))
        text = _TITLES.sub("", re.sub(rf"\b{name}\b", _NAME, text, count=1))
    text = _SPACES.sub(" ", text.lower())
    masked = ""
    hosts: list[str] = []
    for between, url in zip_longest(_URL.split(text), _URL.findall(text)):
        # Mail programs make links of hosts without a scheme.
        named = find_hosts(readable(between))
        hosts += [one.host for one in named if not one.local]
        between = _NUMBERS.sub(_NUMBER, _MAIL_ADDRESS.sub(_ADDRESS, between))
        between = _MONTH_AFTER.sub(rf"\g<day>\g<between>{_MONTH}", between)
        masked += _MONTH_BEFORE.sub(rf"{_MONTH}\g<between>\g<day>", between)
        if url:
            # A link is known by where it goes, numbers included; its path and its query
            # belong to the one message.
            target = url if "://" in url[:8] else f"http://{url}"
            masked += f" {origin_of(target)} "
    return " ".join((masked.strip(), *hosts)) + rest


def amounts(sums: Sums) -> str:
    """Return the same 32 digits for messages that name the same sums in the same order;
    empty where none is named.
    """
    named = " ".join((*sums.named, *sums.unread))
    return (
        hashlib.blake2b(named.encode("utf-8", "replace"), digest_size=16).hexdigest()
        if named
        else ""
    )
