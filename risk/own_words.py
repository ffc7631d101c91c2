"""The words, phrases and patterns that admins look for: how they are written, how they
are found in a text, and the check of a message for them. Pure.

A text is cut into words, without accents, case and invisible characters, and a pattern
is compared with one word of at most 60 characters at a time. So no pattern and no
message can keep a process busy.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from common.fingerprint import Content
from common.words import MAX_WORD, words_of
from common.words import quoted as quoted_word
from rendering import RenderedMessage, stripped
from risk.addresses import bare_address
from risk.findings import (
    ATTACHMENTS,
    HIGH,
    PARTS,
    SHEET,
    SUBJECT,
    Finding,
    OwnPhrase,
    Phrase,
    RiskContext,
    address_anchor,
    finding,
    mark_anchor,
    quoted,
)
from risk.rules import Level

MAX_TYPED = 80
MAX_WORDS = 8
MAX_STARS = 3
MIN_FIXED = 2
# How many words of the text are shown before and after what was found.
CONTEXT = 6

_WORD = re.compile(r"[\w*?#]+")
# Signs that may stand between words; texts are compared without them.
_BETWEEN = frozenset(" \t.,:;!-–—/\\'’‘\"“”()[]@&_…")
# From here on a single character may be a whole word.
_IDEOGRAPHS = 0x2E80


class Match(NamedTuple):
    """What fits a phrase, with the words before and after it, as texts are compared."""

    before: str
    found: str
    after: str

    def __str__(self) -> str:
        return " ".join(filter(None, self))


def read_phrase(text: str) -> Phrase:
    """Return a phrase as it was typed. Raises ValueError with a sentence for one that
    cannot be looked for.
    """
    typed = " ".join(stripped(text).split())
    if len(typed) > MAX_TYPED:
        raise ValueError(f"Keep it under {MAX_TYPED} characters.")
    plain = unicodedata.normalize("NFKD", typed).casefold()
    plain = "".join(
        one for one in plain if unicodedata.category(one) not in ("Mn", "Cf", "Cs")
    )
    if signs := [one for one in _WORD.sub("", plain) if one not in _BETWEEN]:
        raise ValueError(
            f"“{signs[0]}” cannot be searched: only letters and digits are compared."
        )
    words = tuple(_WORD.findall(plain))
    if not words:
        raise ValueError("Write a word, a phrase or a pattern.")
    if len(words) > MAX_WORDS:
        raise ValueError(f"Use at most {MAX_WORDS} words.")
    if any(len(word) > MAX_WORD for word in words):
        raise ValueError(f"Keep each word under {MAX_WORD} characters.")
    if any(word.count("*") > MAX_STARS for word in words):
        raise ValueError(f"Use at most {MAX_STARS} stars in a word.")
    fixed = [one for word in words for one in word if one not in "*?"]
    if len(fixed) < MIN_FIXED and not any(ord(one) >= _IDEOGRAPHS for one in fixed):
        raise ValueError(
            "That would match nearly every message. Give at least two letters or digits."
        )
    return Phrase(typed, words)


class SearchedText:
    """A text in which phrases are looked for."""

    def __init__(self, text: str) -> None:
        self._words = words_of(stripped(text))
        self._positions: dict[str, list[int]] = {}
        for position, word in enumerate(self._words):
            self._positions.setdefault(word, []).append(position)
        self._distinct = sorted(self._positions)

    def find(self, phrase: Phrase) -> Match | None:
        """Return the first place in the text that fits the phrase, None where none
        does.
        """
        rarest, starts = min(
            ((number, self._fitting(word)) for number, word in enumerate(phrase.words)),
            key=lambda one: len(one[1]),
        )
        for position in starts:
            start = position - rarest
            end = start + len(phrase.words)
            if start < 0 or end > len(self._words):
                continue
            words = self._words[start:end]
            if all(map(fits, words, phrase.words)):
                return Match(
                    " ".join(self._words[max(0, start - CONTEXT) : start]),
                    " ".join(words),
                    " ".join(self._words[end : end + CONTEXT]),
                )
        return None

    def _fitting(self, pattern: str) -> Sequence[int]:
        """Return the positions of the words that fit, in order."""
        if is_plain(pattern):
            return self._positions.get(pattern, ())
        # Only words with the pattern's beginning are looked at: a long text has very
        # many.
        beginning = _beginning(pattern)
        first = bisect_left(self._distinct, beginning)
        last = bisect_left(self._distinct, f"{beginning}\U0010ffff")
        fitting = [word for word in self._distinct[first:last] if fits(word, pattern)]
        return sorted(at for word in fitting for at in self._positions[word])


def is_plain(pattern: str) -> bool:
    """Whether a pattern is the word itself."""
    return not any(sign in pattern for sign in "*?#")


def fits(word: str, pattern: str) -> bool:
    """Whether a word fits a pattern: `*` is any letters and digits or none, `?` one of
    them, `#` one digit.
    """
    return fnmatchcase(word, pattern.replace("#", "[0-9]"))


def _beginning(pattern: str) -> str:
    return re.split(r"[*?#]", pattern, maxsplit=1)[0]


def search_terms(phrase: Phrase) -> str:
    """Return what a text must hold at least to fit, as PostgreSQL reads a tsquery;
    empty where that is nothing.
    """
    terms = []
    for word in phrase.words:
        if is_plain(word):
            terms.append(quoted_word(word))
        elif _beginning(word):
            terms.append(f"{quoted_word(_beginning(word))}:*")
    return " & ".join(terms)


# Where a phrase is looked for, by the words for it.
PLACES = {
    "subject": "the subject",
    "text": "the text",
    "files": "file names",
    "addresses": "addresses",
}


@dataclass(frozen=True)
class Place:
    """A piece of a message in which phrases are looked for, and its anchor on the page."""

    kind: str
    text: SearchedText
    anchor: str


def places_in_words(kinds: Collection[str]) -> str:
    """Return places for the middle of a sentence: "the subject, the text and file
    names".
    """
    *others, last = [words for kind, words in PLACES.items() if kind in kinds] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def own_word(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """The words that admins look for in this mailbox, each with its own points."""
    if not context.own_phrases:
        return
    places = _places(content, rendered)
    for phrase in context.own_phrases:
        if found := _finding(phrase, places):
            yield found


def _finding(one: OwnPhrase, places: list[Place]) -> Finding | None:
    matches = [
        (place, match)
        for place in places
        if place.kind in one.looks_in and (match := place.text.find(one.phrase))
    ]
    if not matches:
        return None
    phrase = quoted(one.phrase.text)
    where = places_in_words({place.kind for place, _ in matches})
    contexts = list(dict.fromkeys(quoted(str(match), 200) for _, match in matches))
    detail = "" if contexts[0] == phrase else f"{contexts[0]}."
    sentence = f"{phrase} is in {where}."
    anchor = matches[0][0].anchor
    found = finding("own_word", sentence, detail, contexts, anchor=anchor)
    level: Level = "high" if one.points >= HIGH else "notice"
    return replace(found, level=level, points=one.points)


def _places(content: Content, rendered: RenderedMessage) -> list[Place]:
    in_text = PARTS if content.html is not None else SHEET
    addresses = (content.sender, content.reply_to or "", *content.recipients)
    named = [(text, text) for text in addresses]
    if content.sender_name:
        named.insert(0, (f"{content.sender_name} {content.sender}", content.sender))
    texts = [
        ("subject", content.subject, SUBJECT),
        # What was left out does not stand in the plain text.
        *(("text", one.passage, mark_anchor(one.mark)) for one in rendered.differences),
        ("text", rendered.plain, SHEET),
        ("text", content.markdown or "", in_text),
        *(("files", file.name, ATTACHMENTS) for file in content.attachments),
        *(
            ("addresses", text, address_anchor(bare_address(address)))
            for text, address in named
        ),
    ]
    return [
        Place(kind, SearchedText(text), anchor) for kind, text, anchor in texts if text
    ]
