"""Compares the HTML and the text part of a message in their order: words, numbers,
signs and links. Layout does not count, nor how text writes it: the marks of Markdown,
of lists and of quotations.

The text may leave out what `text_from_html` marks as EXTRA. Both are read in linear
time: they are strangers' input.
"""

import html
import re
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from markdown_it.common.normalize_url import normalizeLink

from common.markdown import ELEMENTS
from common.text_from_html import EXTRA, LINK
from common.words import apart, normalized

_LANGUAGES = frozenset(
    Path(__file__).with_name("code_languages.txt").read_text("utf-8").split()
)
# Characters of a part that are compared, differences that are named, words around each,
# and tokens after a difference among which the parts may agree again.
_MOST_COMPARED = 500_000
_MOST_NAMED = 20
_AROUND = 4
_WINDOW = 300
_SAME = 3

_RAISED_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_RAISED = str.maketrans(_RAISED_DIGITS, "0123456789+-")
# What nobody sees, and how it is written where a text has no letters for it.
_UNSEEN = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufffc]"
)
_ENTITY = re.compile(
    "&(?:nbsp|amp|lt|gt|quot|[nm]dash|hellip|euro|pound|copy|reg|[lr]arr|middot|bull|times);"
)
_FENCE = re.compile(r"(?m)^[ \t>]*+(?:[-*+] +)?(?:`{3,}|~{3,})[ \t]*+([\w#+-]*+)")
_QUOTE = re.compile(r"(?m)^[ \t]*+>[> \t]*+")
_RULE = re.compile(r"([-=_~*#<>])\1\1++")
_BRACKETED = re.compile(
    rf"<({LINK}[^<>{LINK}]{{1,600}}{LINK}|(?:https?:|www\.|mailto:|tel:|[\w.+-]{{1,64}}@)[^\s<>]*+)>"
)
# Stands in a text for a picture.
_PICTURE = re.compile(r"\[(cid:[\w.@-]{1,99}(?=\])|image:|picture:)", re.IGNORECASE)
_SIMPLE_TAG = re.compile(r"</?+([A-Za-z][A-Za-z0-9]{0,9}+)\s*+/?+>")
_STRIKES = frozenset("s del strike".split())
# Elements that stand within a word.
_INSIDE = frozenset("b strong i em u ins span font mark small big code".split())
# The address behind a number or a name, at the end of a text.
_DEFINITION = re.compile(
    r"(?m)^[ \t>]{0,9}\[([^\[\]\n]{1,80})\](?::[ \t]{0,9}|[ \t]{1,9})<?((?:https?://|mailto:)[^\s<>]+)>?"
)
_REFERENCE = re.compile(r"\[([^\[\]\n]{1,80})\]")
_SHORT_KEY = re.compile(r"[\w^.-]{1,20}")
_TOKEN = re.compile(
    rf"""
    (?P<mark>[{EXTRA}{LINK}])
    |(?P<address>(?:https?://|www\.(?=\w))[^\s<>"`|\[\]{EXTRA}{LINK}]+
      |(?:mailto:)?(?<![\w.+%-])[\w.+%-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,8}}(?:\?[^\s<>()"{EXTRA}{LINK}]*)?)
    |(?P<line>^(?=[^\s\d*+•·-]))
    |(?P<item>^[ \t]*+(?:[0-9]{{1,9}}[.)]|o)(?=[ \t]))
    |(?P<number>[.,]?\d+(?:[.,:/'’]\d+)*)
    |(?P<word>[^\W\d_]+)
    |(?P<sign>~~|(?<!\w)__(?=[a-z0-9]+(?:_[a-z0-9]+)*__)|[-+−–‐](?=[.,]?\d)|\((?=[$€£¥]?[.,]?\d)|(?<=\d)\*(?=\d)
      |\\(?=[^\W_]|\\)|(?<=[:\\])\\|(?<=[A-Za-z.])\\(?=[^\w\s][\w.]))
    |(?P<other>[^\s\w\\.,;:!¡()\[\]{{}}*\#|~`'´‘’‚‹›•·▪●○◦‣⁃■□†‡…–—−‐+^&/\u2500-\u257f-])
    """,
    re.VERBOSE | re.MULTILINE,
)
_QUOTATION = dict.fromkeys("“”„‟«»″", '"')
_DASHES = dict.fromkeys("-−–‐", "-")


@dataclass(slots=True)
class _Reading:
    """The tokens of a text as they are compared, and where each begins in it; which of
    them the other part may leave out. `links` has, by the first word of a link, its
    address and the token behind it.
    """

    text: str
    tokens: list[str]
    begins: "array[int]"
    extra: set[int]
    links: dict[int, tuple[str, int]]

    def passage(self, begin: int, end: int) -> str:
        """Return the words from one token to another, with some around them."""
        first = self.begins[max(begin - _AROUND, 0)]
        behind = self.begins[min(end + _AROUND, len(self.tokens))]
        passage = self.text[first:behind]
        return " ".join(passage.replace(EXTRA, "").replace(LINK, "").split())

    def next_ones(self, at: int) -> list[int]:
        """Return the tokens from `at` on that the other part must have."""
        nearby = range(at, min(at + _WINDOW, len(self.tokens)))
        return [one for one in nearby if one not in self.extra]


def differences(html_text: str, text: str) -> list[tuple[str, str]]:
    """Return the passages in which the parts differ, of the HTML and of the text.
    `html_text` is what `text_from_html` returns, marked.
    """
    ours = _read(html_text)
    theirs = _read(re.sub(f"[{EXTRA}{LINK}]", "", text))
    found: list[tuple[str, str]] = []
    at = other = 0
    end, other_end = len(ours.tokens), len(theirs.tokens)
    while at < end or other < other_end:
        if at in ours.extra and at - 1 not in ours.extra:
            behind = at
            while behind in ours.extra:
                behind += 1
            required = ours.tokens[behind : behind + _SAME]
            if required == theirs.tokens[other : other + _SAME]:
                at = behind
        if ours.tokens[at : at + 1] == theirs.tokens[other : other + 1]:
            at += 1
            other += 1
        elif at in ours.links and ours.links[at][0] in theirs.tokens[other : other + 1]:
            # Its address stands for its words.
            at = ours.links[at][1]
            other += 1
        elif other in theirs.extra:
            other += 1
        elif at in ours.extra:
            at += 1
        else:
            after, other_after = _where_they_agree(ours, at, theirs, other)
            found.append((ours.passage(at, after), theirs.passage(other, other_after)))
            at, other = after, other_after
            if len(found) == _MOST_NAMED:
                break
    return found


def _where_they_agree(
    ours: _Reading, at: int, theirs: _Reading, other: int
) -> tuple[int, int]:
    """Return the next tokens from which on some are the same; else the ends."""
    mine = ours.next_ones(at)
    yours = theirs.next_ones(other)
    seen: dict[tuple[str, ...], int] = {}
    for number in reversed(range(len(yours))):
        key = tuple(theirs.tokens[one] for one in yours[number : number + _SAME])
        seen[key] = number
    best = (len(mine) + len(yours), len(ours.tokens), len(theirs.tokens))
    for number, one in enumerate(mine):
        key = tuple(ours.tokens[one] for one in mine[number : number + _SAME])
        if key in seen:
            best = min(best, (number + seen[key], one, yours[seen[key]]))
    return best[1:]


def _read(text: str) -> _Reading:
    text = _prepared(text[:_MOST_COMPARED])
    reading = _Reading(text, [], array("L"), set(), {})
    tokens = reading.tokens
    is_extra = False
    link = -1
    address = ""
    # The last number in the same list: many write all its items as "1.".
    last = ""
    for match in _TOKEN.finditer(text):
        written = match[0]
        kind = match.lastgroup
        spelled = [written]
        if kind == "mark":
            is_extra ^= written == EXTRA
            if written == LINK and link < 0:
                link = len(tokens)
            elif written == LINK:
                reading.links[link] = (address, len(tokens))
                link = -1
            continue
        if kind == "line":
            last = ""
            continue
        is_optional = is_extra
        if kind == "word":
            spelled = [written.casefold()]
            if not written.isascii():
                spelled = apart(spelled[0])
        elif kind == "address":
            spelled = [_address(written)]
            address = spelled[0]
        elif kind == "item":
            marker = written.strip()
            spelled = [marker[:-1].lstrip("0") or marker[:1]]
            is_optional |= marker in ("o", last)
            last = marker
        elif kind == "sign":
            spelled = [_DASHES.get(written, written)]
        elif kind == "other":
            spelled = [_QUOTATION.get(written, written)]
        for one in spelled:
            if is_optional:
                reading.extra.add(len(tokens))
            tokens.append(one)
            reading.begins.append(match.start())
    reading.begins.append(len(text))
    return reading


def _prepared(text: str) -> str:
    """Return a text without what is layout, or written for it."""
    text = re.sub(
        f"[{_RAISED_DIGITS}]+", lambda raised: f"^{raised[0].translate(_RAISED)}", text
    )
    text = _UNSEEN.sub("", normalized("NFKC", text))
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _QUOTE.sub("", _FENCE.sub(_fence, text))
    text = _BRACKETED.sub(r" \1 ", _SIMPLE_TAG.sub(_tag, _RULE.sub(" ", text)))
    text = _PICTURE.sub(rf"{EXTRA}\1{EXTRA}", text)
    addresses = {key.casefold(): address for key, address in _DEFINITION.findall(text)}
    if not addresses:
        return text
    used = set()

    def with_address(reference: re.Match[str]) -> str:
        key = reference[1]
        is_behind = reference.string.startswith("]", max(reference.start() - 1, 0))
        address = addresses.get(key.casefold())
        if address is None:
            return reference[0]
        used.add(key.casefold())
        may_go = (is_behind or key.isdecimal()) and _SHORT_KEY.fullmatch(key)
        mark = EXTRA if may_go else ""
        return f" {mark}{key}{mark} {address} "

    body = _REFERENCE.sub(with_address, _DEFINITION.sub("", text))
    unused = [
        one[0] for one in _DEFINITION.finditer(text) if one[1].casefold() not in used
    ]
    return "\n".join([body, *unused])


def _fence(match: re.Match[str]) -> str:
    return " " if match[1].lower() in _LANGUAGES else f" {match[1]} "


def _tag(match: re.Match[str]) -> str:
    name = match[1].lower()
    if name in _STRIKES:
        return "~~"
    if name in _INSIDE:
        return ""
    return " " if name in ELEMENTS else match[0]


@lru_cache(maxsize=2000)
def _address(written: str) -> str:
    """Return an address in one spelling."""
    address = html.unescape(written).rstrip(".,;:!?'*_~|`]")
    if address.endswith(")") and "(" not in address:
        address = address.rstrip(").,;:!?'*_~|`]")
    if "@" in address and "//" not in address:
        return address.removeprefix("mailto:").partition("?")[0].lower()
    if re.search(r"[^\w:/?#@!$&()*+,;=.~%-]", address, re.ASCII):
        address = normalizeLink(address)
    address = re.sub("^https?://", "", address, flags=re.IGNORECASE)
    host, slash, path = address.partition("/")
    return f"{host.lower()}{slash}{path}".rstrip("/")
