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

from common.markdown import ELEMENTS, TAG
from common.text_from_html import EXTRA, LINK
from common.words import UNSPACED, normalized

_LANGUAGES = "|".join(
    map(re.escape, Path(__file__).with_name("code_languages.txt").read_text().split())
)
# Characters of a part that are compared, differences that are named, references to
# addresses at the end of a text that are followed, words around a difference,
# and tokens after a difference among which the parts may agree again.
_MOST_COMPARED = 500_000
_MOST_NAMED = 20
_MOST_REFERENCES = 2000
_AROUND = 4
_WINDOW = 300
_SAME = 3

_MARKS = re.compile(f"[{EXTRA}{LINK}]")
_RAISED_DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_RAISED = str.maketrans(_RAISED_DIGITS, "0123456789+-")
_ALIKE = str.maketrans("“”„‟«»″−–‐", '"' * 7 + "---")
# What nobody sees, and how it is written where a text has no letters for it.
_UNSEEN = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufffc]"
)
_ENTITY = re.compile("&(?:nbsp|amp|[nm]dash|hellip|copy|reg|[lr]arr|middot|bull);")
_FENCE = re.compile(
    rf"(?mi)^[ \t>]*+(?:[-*+] +)?(?:`{{3,}}|~{{3,}})[ \t]*+(?:(?:{_LANGUAGES})(?![\w#+-]))?"
)
_RULE = re.compile(r"([-=_~*#])\1\1++")
# A letter that is raised or lowered.
_RAISED_LETTER = re.compile(r"(?<=[^\W\d_])(?:\^|_(?=[^\W\d_](?![^\W_])))(?=[^\W\d_])")
_BRACKETED = re.compile(
    rf"<\s{{0,2}}({LINK}[^<>{LINK}]{{1,600}}{LINK}|(?:https?:|www\.|mailto:|tel:|[\w.+-]{{1,64}}@)[^\s<>]*+)>"
)
# Stands in a text for a picture.
_PICTURE = re.compile(r"(?i)(?<=\[)(?:cid:[\w.@-]{1,99}(?=\])|image:|picture:)")
# The title of a link in Markdown.
_TITLE = re.compile(
    r"\[([^\[\]\n]{0,300})\]\([^\s()]{1,2000}([ \t]{1,9}(?:\"[^\"\n]{1,300}\"|'[^'\n]{1,300}'))\)"
)
_ATTRIBUTE = re.compile(
    r"(?<![\w:-])([\w:-]++)\s*+=\s*+(\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++)"
)
# Attributes that say nothing.
_LOOKS = frozenset(
    "align alt bgcolor border cellpadding cellspacing class color colspan dir face height href id lang rel rowspan"
    " size src style target type valign width".split()
)
_STRIKES = frozenset("s del strike".split())
# Elements that stand within a word.
_INSIDE = frozenset("b strong i em u ins span font mark small big code".split())
# The address behind a number or a name, at the end of a text.
_DEFINITION = re.compile(
    r"(?m)^(?:References\s{1,9})?+[ \t>]{0,9}(?:\[([^\[\]\n]{1,80})\](?::[ \t]{0,9}|[ \t]{1,9})<?((?:https?://|mailto:)[^\s<>]{1,500})>?"
    r"|([0-9]{1,3})\.[ \t]{1,9}(https?://[^\s<>]{1,500})[ \t]*$)"
)
_REFERENCE = re.compile(r"\[([^\[\]\n]{1,80})\]")
# A letter of a script without blanks.
_UNSPACED = f"[{''.join(map('-'.join, UNSPACED))}]"
_TOKEN = re.compile(
    rf"""
    (?P<line>^[ \t]*+(?:>(?!=)[ \t]*+)*+(?P<item>(?:[0-9]{{1,9}}[.)]|o)(?=[ \t]))?)
    |(?P<mark>[{EXTRA}{LINK}])
    |(?P<address>(?:https?://|cid:|www\.(?=\w))(?:[^\s<>"`|()\[\]{EXTRA}{LINK}]++|\([^\s<>"()]*+\))++
      |(?:mailto:)?(?<![a-z0-9_.+%-])[a-z0-9_.+%-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,8}}(?:\?[^\s<>()"{EXTRA}{LINK}]*)?)
    |(?P<number>[.,]?\d+(?:[.,:/'’]\d+)*)
    |(?P<word>(?:(?!{_UNSPACED})[^\W\d_])+|{_UNSPACED})
    |(?P<sign>~~|(?<=\w[ ])\#(?=[ \t]*+$)
      |(?<!\w)__(?-i:(?=[a-z0-9]+(?:_[a-z0-9]+)*__))|[-+](?=[.,]?\d)|(?<=[-*][ ])-(?=[ ]\d)|(?<!\^)\((?=[$€£¥]?[.,]?\d)
      |(?<=[A-Za-z0-9])\*(?=[A-Za-z0-9])
      |\\(?=[^\W_]|\\|[$#]\d)|(?<=[:\\])\\|(?<=[A-Za-z.])\\(?=[^\w\s][\w.]))
    |(?P<other>[^\s\w\\.,;:!¡()\[\]{{}}*\#|~`'´‘’‚‹›•·▪●○◦‣⁃■□†‡…—+^&/\u2500-\u257f-])
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
# The begin and the end of a quotation in lines.
_QUOTES, _ENDS = "\x0e\x0f"


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
        return " ".join(_MARKS.sub("", passage).split())

    def next_ones(self, at: int) -> list[int]:
        """Return the tokens from `at` on that the other part must have."""
        nearby = range(at, min(at + _WINDOW, len(self.tokens)))
        return [one for one in nearby if one not in self.extra]


def differences(html_text: str, text: str) -> list[tuple[str, str, bool]]:
    """Return the passages in which the parts differ, of HTML and of text, and whether
    the text only has the title of a link there, which programs show when the pointer is
    over it. `html_text` is what `text_from_html` returns, marked.
    """
    ours = _read(html_text)
    text = _MARKS.sub("", text)
    found = [(words, words + title, True) for words, title in _TITLE.findall(text)]
    theirs = _read(_TITLE.sub(lambda link: link[0].replace(link[2], ""), text))
    # Programs that quote by a line beside the text write no marks into it.
    for one, another in ((ours, theirs), (theirs, ours)):
        if _QUOTES not in another.tokens:
            signs = enumerate(one.tokens)
            one.extra.update(at for at, sign in signs if sign in (_QUOTES, _ENDS))
    addresses = {address for address, _ in ours.links.values()}
    at = other = 0
    end, other_end = len(ours.tokens), len(theirs.tokens)
    named = len(found) + _MOST_NAMED
    while (at < end or other < other_end) and len(found) < named:
        if at in ours.extra and at - 1 not in ours.extra:
            behind = at
            said = other
            while behind in ours.extra:
                said += theirs.tokens[said : said + 1] == [ours.tokens[behind]]
                behind += 1
            required = ours.tokens[behind : behind + _SAME]
            is_left_out = required == theirs.tokens[other : other + _SAME]
            # The words behind a picture may be those in its place.
            if is_left_out and required != theirs.tokens[said : said + _SAME]:
                at = behind
                continue
        sign = theirs.tokens[other] if other < other_end else ""
        if at < end and ours.tokens[at] == sign:
            at += 1
            other += 1
        elif other in theirs.extra and ("." not in sign or sign in addresses):
            other += 1
        elif at in ours.links and ours.links[at][0] == sign:
            # Its address stands for its words.
            at = ours.links[at][1]
            other += 1
        elif at in ours.extra:
            at += 1
        else:
            after, other_after = _where_they_agree(ours, at, theirs, other)
            passage = theirs.passage(other, other_after)
            found.append((ours.passage(at, after), passage, False))
            at, other = after, other_after
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
    depth = 0
    # The number of the last item, if it is the first one: many write "1." only.
    first = ""
    for match in _TOKEN.finditer(text):
        written = match[0]
        kind = match.lastgroup
        is_optional = is_extra
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
            following = text[match.end() : match.end() + 3]
            # Neither a blank line nor a picture without words.
            if following[:1] in ("", "\n") or following[1:] == "[]":
                continue
            item = match["item"] or ""
            quotes = written.count(">")
            spelled = [_QUOTES] * (quotes - depth) or [_ENDS] * (depth - quotes)
            depth = quotes
            if item:
                spelled.append(item[:-1].lstrip("0") or item[:1].lower())
                is_optional |= item in ("o", first)
                first = item if item in ("1.", "1)") else ""
            elif not re.match("[-+*•· ]", written[-1:] or following):
                first = ""
        elif kind == "word":
            spelled = [written.casefold()]
            if written[0].islower() and not written.islower() and tokens:
                # A unit: "5 mW" is not "5 MW".
                spelled = [written] if tokens[-1][-1:].isdigit() else spelled
        elif kind == "address":
            address = _address(written)
            spelled = [address]
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
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _UNSEEN.sub("", normalized("NFKC", text)).translate(_ALIKE)
    text = _RULE.sub(" ", _FENCE.sub("", text))
    text = _BRACKETED.sub(r" \1 ", TAG.sub(_tag, text))
    text = _PICTURE.sub("", _RAISED_LETTER.sub("", text))
    addresses = {}
    for key, address, number, other in _DEFINITION.findall(text):
        addresses[(key or number).casefold()] = address or other
    references = _REFERENCE.findall(_DEFINITION.sub("", text)) if addresses else ()
    used = addresses.keys() & {key.casefold() for key in references}
    if not used:
        return text

    def with_address(reference: re.Match[str]) -> str:
        key = reference[1]
        if key.casefold() not in used:
            return reference[0]
        start, end = reference.span()
        is_behind = start and reference.string[start - 1] == "]"
        may_go = (is_behind and " " not in key) or key.isdecimal()
        mark = EXTRA if may_go else ""
        # "[1]bill", as lynx writes it: the words of the link come behind.
        around = mark if reference.string[end : end + 1].isalnum() else ""
        return f" {mark}{key}{mark} {around}{addresses[key.casefold()]}{around} "

    def definition(match: re.Match[str]) -> str:
        return "" if (match[1] or match[3]).casefold() in used else match[0]

    text = _DEFINITION.sub(definition, text)
    return _REFERENCE.sub(with_address, text, count=_MOST_REFERENCES)


def _tag(match: re.Match[str]) -> str:
    """Return what a tag says that is written out in a text."""
    name = match[1].lower()
    attributes = _ATTRIBUTE.findall(match[0])
    values = {key.lower(): value.strip("\"'") for key, value in attributes}
    if name not in ELEMENTS or values.keys() - _LOOKS:
        return match[0]
    if name in ("a", "img"):
        alt, source, address = map(values.get, ("alt", "src", "href"))
        return f"{EXTRA}{address or ''}{EXTRA} {alt or ''} {source or ''} "
    if name in _STRIKES:
        return "~~"
    return "" if name in _INSIDE else " "


@lru_cache(maxsize=2000)
def _address(written: str) -> str:
    """Return an address in one spelling."""
    address = html.unescape(written).rstrip(".,;:!?'*_~")
    if "@" in address and "//" not in address:
        return address.removeprefix("mailto:").partition("?")[0].lower()
    if re.search(r"[^\w:/?#@!$&()*+,;=.~%-]", address, re.ASCII):
        address = normalizeLink(address)
    address = re.sub("^https?://", "", address, flags=re.IGNORECASE)
    host, slash, path = address.partition("/")
    return f"{host.lower()}{slash}{path}".rstrip("/")
