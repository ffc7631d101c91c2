"""Own words: the words, phrases and patterns that admins look for in messages. Reads
how admins write them, finds them in a text, and checks a message for them. Pure: reads
no tables.

A text is cut into words without accents, case and invisible characters, and each
character of a script without blanks is a word. A pattern is
compared with one word at a time, of at most MAX_WORD characters, so no pattern and no
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
from common.words import MAX_WORD, apart, is_unspaced, joined, pieces_of
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

# Limits of a phrase: its characters, its words, and the stars in a word.
MAX_TYPED = 80
MAX_WORDS = 8
MAX_STARS = 3
# How many letters or digits, other than * and ?, it needs at least.
MIN_FIXED = 2
# How many words of the text are shown before and after a match.
CONTEXT = 6

_WORD = re.compile(r"[\w*?#]+")
# Signs that may stand between words; texts are compared without them.
_BETWEEN = frozenset(" \t.,:;!-–—/\\'’‘\"“”()[]@&_…")
# From this code point on, a single character may be a whole word, as in Chinese.
_IDEOGRAPHS = 0x2E80


class Match(NamedTuple):
    """A match: the words that fit a phrase, and up to CONTEXT words before and after
    them, in the form in which texts are compared.
    """

    before: str
    found: str
    after: str

    def __str__(self) -> str:
        return joined([one for one in self if one])


def read_phrase(text: str) -> Phrase:
    """Return the phrase that an admin typed. Raises ValueError with a sentence if it
    cannot be searched for.
    """
    typed = " ".join(stripped(text).split())
    if len(typed) > MAX_TYPED:
        raise ValueError(f"Keep it under {MAX_TYPED} characters.")
    plain = unicodedata.normalize("NFKD", typed).casefold()
    categories = map(unicodedata.category, plain)
    # As in texts, some marks are left out, and others part words.
    plain = "".join(
        " " if category == "Mc" else one
        for one, category in zip(plain, categories, strict=True)
        if category not in ("Mn", "Cf", "Cs")
    )
    if signs := [one for one in _WORD.sub("", plain) if one not in _BETWEEN]:
        raise ValueError(
            f"“{signs[0]}” cannot be searched: only letters and digits are compared."
        )
    words = _WORD.findall(plain)
    if not words:
        raise ValueError("Write a word, a phrase or a pattern.")
    if len(typed.split()) > MAX_WORDS:
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
    return Phrase(typed, tuple(piece for word in words for piece in _pieces(word)))


def _pieces(word: str) -> list[str]:
    # The parts of a word that are compared with those of a text.
    pieces = apart(word)
    last = len(pieces) - 1
    # At the ends a star adds nothing, because no blank has to be there.
    kept = [
        piece for at, piece in enumerate(pieces) if piece.strip("*") or 0 < at < last
    ]
    return kept or pieces


class SearchedText:
    """A text in which phrases can be found; its words are indexed once."""

    def __init__(self, text: str) -> None:
        self._words = pieces_of(stripped(text))
        self._positions: dict[str, list[int]] = {}
        for position, word in enumerate(self._words):
            self._positions.setdefault(word, []).append(position)
        self._distinct = sorted(self._positions)

    def find(self, phrase: Phrase) -> Match | None:
        """Return a match of the phrase; None if there is none. The search begins with
        the word of the phrase that is rarest in the text.
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
                    joined(self._words[max(0, start - CONTEXT) : start]),
                    joined(words),
                    joined(self._words[end : end + CONTEXT]),
                )
        return None

    def _fitting(self, pattern: str) -> Sequence[int]:
        """Return the positions in the text of the words that fit a pattern, in order."""
        if is_plain(pattern):
            return self._positions.get(pattern, ())
        # Only words that begin like the pattern are compared: a text may have many.
        beginning = _beginning(pattern)
        first = bisect_left(self._distinct, beginning)
        last = bisect_left(self._distinct, f"{beginning}\U0010ffff")
        fitting = [word for word in self._distinct[first:last] if fits(word, pattern)]
        return sorted(at for word in fitting for at in self._positions[word])


def is_plain(pattern: str) -> bool:
    """Whether a pattern has no wildcards, so that only the word itself fits."""
    return not any(sign in pattern for sign in "*?#")


def fits(word: str, pattern: str) -> bool:
    """Whether a word fits a pattern, in which `*` is any number of letters and digits
    or none, `?` one letter or digit, and `#` one digit.
    """
    return fnmatchcase(word, pattern.replace("#", "[0-9]"))


def _beginning(pattern: str) -> str:
    return re.split(r"[*?#]", pattern, maxsplit=1)[0]


def search_terms(phrase: Phrase) -> str:
    """Return a PostgreSQL tsquery that every text with the phrase fulfils, to search
    for candidates by an index; empty if no word of the phrase can be searched so.
    """
    terms = []
    for word in phrase.words:
        if is_unspaced(word[0]):
            # It may be anywhere in a word.
            continue
        if is_plain(word):
            terms.append(quoted_word(word))
        elif _beginning(word):
            terms.append(f"{quoted_word(_beginning(word))}:*")
    return " & ".join(terms)


# The kinds of places in a message in which a phrase is searched, and their words.
PLACES = {
    "subject": "the subject",
    "text": "the text",
    "files": "file names",
    "addresses": "addresses",
}


@dataclass(frozen=True)
class Place:
    """One text of a message in which phrases are searched: its kind (of PLACES), the
    text, and its anchor on the page.
    """

    kind: str
    text: SearchedText
    anchor: str


def places_in_words(kinds: Collection[str]) -> str:
    """Return kinds of places in words: "the subject, the text and file names"."""
    *others, last = [words for kind, words in PLACES.items() if kind in kinds] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def own_word(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """The phrases that admins look for in this mailbox. Each has its own points."""
    if not context.own_phrases:
        return
    places = _places(content, rendered)
    for phrase in context.own_phrases:
        if found := _finding(phrase, places):
            yield found


# The finding about one phrase; None if it is in none of its places.
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
    result = finding("own_word", sentence, detail, contexts, anchor=anchor)
    level: Level = "high" if one.points >= HIGH else "notice"
    return replace(result, level=level, points=one.points)


# All texts of a message in which phrases are searched.
def _places(content: Content, rendered: RenderedMessage) -> list[Place]:
    in_text = PARTS if content.html is not None else SHEET
    addresses = (content.sender, content.reply_to or "", *content.recipients)
    named = [(text, text) for text in addresses]
    if content.sender_name:
        named.insert(0, (f"{content.sender_name} {content.sender}", content.sender))
    texts = [
        ("subject", content.subject, SUBJECT),
        # Passages that rendering left out are not in the plain text.
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
