"""Finds the words, phrases and patterns that rules of the policy name: reads how admins
write them, and looks for them in everything that a person reads of a message. Pure:
reads no tables.

A text is cut into words without accents, case and invisible characters, and each
character of a script without blanks is a word. A word with letters of other scripts or
digits is compared by what it looks like, too, and each word without the signs in it. A
pattern is compared with one word at a time, of at most MAX_WORD characters, so no
pattern and no message can keep a process busy.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import groupby

from common.fingerprint import Content
from common.words import MAX_WORD, apart, is_read_whole, pieces_of
from rendering import RenderedMessage, stripped
from risk.lookalikes import skeleton

# Limits of a phrase: its characters, its words, and the stars in a word.
MAX_TYPED = 80
MAX_WORDS = 8
MAX_STARS = 3
# How many letters or digits, other than * and ?, it needs at least.
MIN_FIXED = 2
# How many letters that stand alone are searched in a text ("t u l i p"), and how long a
# word of them may be. If a text has more, it is not searched as a whole.
MAX_SPELLED_OUT = 200
_MOST_LETTERS = 24

_WORD = re.compile(r"[\w*?#]+")
# Signs that may stand between words; texts are compared without them.
_BETWEEN = frozenset(" \t.,:;!-–—/\\'’‘\"“”()[]@&_…")
# At the end of a line, they say that its last word goes on in the next one.
_HYPHENS = "-‐‑"
# From this code point on, a single character may be a whole word, as in Chinese.
_IDEOGRAPHS = 0x2E80


@dataclass(frozen=True)
class Phrase:
    """A word, phrase or pattern: as typed, and cut into words as it is compared."""

    text: str
    words: tuple[str, ...]


# As many as a policy can have.
@lru_cache(maxsize=20_000)
def read_phrase(text: str) -> Phrase:
    """Return the phrase that an admin typed. Raises ValueError with a sentence if it
    cannot be looked for.
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
    ).replace("_", " ")
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
        # Whether all of it is searched, however long it is, and as it is read.
        self.is_whole = is_read_whole(text) and RIGHT_TO_LEFT not in text
        visible = stripped(text.translate(_BLANKS))
        words = pieces_of(visible)
        if _I_FOR_L.search(visible):
            words += pieces_of(_APART + _I_FOR_L.sub("l", visible))
        # Once more with signs within words left out, and letters joined that stand
        # alone: "tu-lip", "tu-\nlip", "t u l i p".
        visible = visible.replace("\r", "")
        for hyphen in _HYPHENS:
            visible = visible.replace(f"{hyphen}\n", "")
        kept = (one for one in visible if one.isalnum() or one.isspace() or one == "_")
        plain = _APART + "".join(kept)
        # By position, every word that stands in a row of single letters.
        spelled_out: dict[int, set[str]] = {}
        letters = 0
        for is_letter, group in groupby(pieces_of(plain), lambda one: len(one) == 1):
            found = list(group)
            if is_letter:
                row = "".join(found)
                if any(map(str.isalpha, row)) and max(row) < chr(_IDEOGRAPHS):
                    letters += len(row)
                    spelled_out[len(words)] = _within(row[:MAX_SPELLED_OUT])
                found = [row[:MAX_WORD]]
            words += found
        self.is_whole = self.is_whole and letters <= MAX_SPELLED_OUT
        self._words = list(map(_spellings, words))
        self._spelled_out = spelled_out.keys()
        for position, rows in spelled_out.items():
            self._words[position] = tuple(
                spelling for row in rows for spelling in _spellings(row)
            )
        self._positions: dict[str, list[int]] = {}
        for position, spellings in enumerate(self._words):
            for spelling in spellings:
                self._positions.setdefault(spelling, []).append(position)
        self._distinct = sorted(self._positions)

    def has(self, phrase: Phrase) -> bool:
        """Whether the phrase is in the text. The search begins with the word of the
        phrase that is rarest there.
        """
        if len(phrase.words) > 1 and self._spelled_out:
            together = self._fitting("".join(phrase.words))
            if not self._spelled_out.isdisjoint(together):
                return True
        starts: Sequence[int] | None = None
        rarest = 0
        for number, word in enumerate(phrase.words):
            positions = self._fitting(word)
            if not positions:
                return False
            if starts is None or len(positions) < len(starts):
                rarest, starts = number, positions
        for position in starts or ():
            start = position - rarest
            end = start + len(phrase.words)
            if start < 0 or end > len(self._words):
                continue
            if all(map(_may_be, self._words[start:end], phrase.words)):
                return True
        return False

    def _fitting(self, pattern: str) -> Sequence[int]:
        """Return the positions in the text of the words that may be meant by a pattern,
        in order.
        """
        found: set[int] = set()
        for spelled, beginning in _spelled_patterns(pattern):
            if beginning == spelled:
                found.update(self._positions.get(spelled, ()))
                continue
            # Only words that begin like the pattern are compared: a text may have many.
            first = bisect_left(self._distinct, beginning)
            last = bisect_left(self._distinct, f"{beginning}\U0010ffff")
            for word in self._distinct[first:last]:
                if fits(word, spelled):
                    found.update(self._positions[word])
        return sorted(found)


# Between texts, so that no phrase goes over the end of one.
_APART = " _ "
# A capital that looks like a small letter within a word: "tuIip".
_I_FOR_L = re.compile(r"(?<=[a-z])I(?=[a-z])")
# Characters that look like a blank: Braille without dots, and Hangul fillers.
_BLANKS = dict.fromkeys(map(ord, "\u2800\u3164\u115f\u1160\uffa0"), " ")
# The text after this character is shown backwards.
RIGHT_TO_LEFT = "\u202e"
# Before what a word looks like, so that it is not taken for a word of the text.
_LOOKS = "~"


def _spellings(word: str) -> tuple[str, ...]:
    """Return a word of a text and, unless it has Latin letters only or digits only,
    what it looks like.
    """
    if word.isdigit() or (word.isascii() and word.isalpha()):
        return (word,)
    return word, _look(word)


def _within(row: str) -> set[str]:
    # "a r e f u n d" has "refund" in it.
    return {
        row[begin:end]
        for begin in range(len(row))
        for end in range(begin + 1, min(len(row), begin + _MOST_LETTERS) + 1)
    }


def _look(word: str) -> str:
    return _LOOKS + "".join(map(_letter_like, word))


@lru_cache(maxsize=20_000)
def _letter_like(character: str) -> str:
    # Twice, because some letters look like a letter that looks like another.
    return skeleton(skeleton(character))


@lru_cache(maxsize=50_000)
def _spelled_patterns(pattern: str) -> tuple[tuple[str, str], ...]:
    """Return a pattern, and what it looks like, each with its beginning that has no
    wildcards: all of it if it has none.
    """
    spellings = (pattern, _look(pattern))
    return tuple((one, _beginning(one)) for one in spellings)


def _may_be(spellings: Sequence[str], pattern: str) -> bool:
    """Whether a word of a text fits a pattern, as it is or by what it looks like."""
    return any(
        fits(spelling, spelled)
        for spelled, _ in _spelled_patterns(pattern)
        for spelling in spellings
    )


def fits(word: str, pattern: str) -> bool:
    """Whether a word fits a pattern, in which `*` is any number of letters and digits
    or none, `?` one letter or digit, and `#` one digit.
    """
    return fnmatchcase(word, pattern.replace("#", "[0-9]"))


def _beginning(pattern: str) -> str:
    return re.split(r"[*?#]", pattern, maxsplit=1)[0]


# Where a word can be, and the words for it.
PLACES = {
    "subject": "the subject",
    "text": "the text",
    "file": "the name of a file",
    "person": "a name or address",
}


def searched_texts(
    content: Content, rendered: RenderedMessage
) -> list[tuple[SearchedText, str]]:
    """Return everything that a person reads of a message as a few texts, each with its
    place, one of PLACES.
    """
    # Passages that rendering left out are not in the plain text.
    passages = (one.passage for one in rendered.differences)
    people = (content.sender_name, content.sender, content.reply_to or "")
    texts = (
        ([content.subject], "subject"),
        ([rendered.plain], "text"),
        ([content.markdown or ""], "text"),
        ([rendered.unstruck], "text"),
        (passages, "text"),
        ((one.name for one in content.attachments), "file"),
        ((*people, *content.recipients), "person"),
    )
    # In a text, as in "Project_Tulip.pdf", the sign that sets texts apart is a blank.
    joined = (
        (_APART.join(one.replace("_", " ") for one in parts), place)
        for parts, place in texts
    )
    return [(SearchedText(text), place) for text, place in joined if text]


def places_of(
    words: Collection[str], texts: Collection[tuple[SearchedText, str]]
) -> dict[str, str]:
    """Return which of these words and phrases are in the texts, each with the place of
    the first text that has it.
    """
    places: dict[str, str] = {}
    for word in sorted(words):
        phrase = read_phrase(word)
        for text, place in texts:
            if word not in places and text.has(phrase):
                places[word] = place
    return places
