"""The words that mail and history are found by, written the same way for what is kept
and for what is asked. Pure.

PostgreSQL only stores and compares them. Its own parser would read `acme.com/pay` as an
address and find no `pay`. Each word carries a label that says where it stands, so that
`to:` finds recipients and `from:` finds senders.
"""

import re
import unicodedata
from collections.abc import Iterable

# Where a word is: in the recipients, the sender, the person or program that started it,
# or the message itself.
TO = "A"
FROM = "B"
BY = "C"
CONTENT = "D"

# A tsvector has words of up to 2046 bytes, positions up to 16383, and at most a
# megabyte, two bytes for a position.
MAX_WORD = 60
MAX_POSITION = 16_383
MAX_BYTES = 500_000
MAX_TEXT = 200_000
# PostgreSQL stores so many positions of a word.
MOST_POSITIONS = 255
MAX_ASKED = 12

_WORD = re.compile(r"\w+")
_SHOWS_NOTHING = re.compile(r"[\x00-\x20\x7f]+")
# Of a tsvector as PostgreSQL writes it, such as `'it''s':1A,3 'word':2B`.
_LEXEME = re.compile(r"'((?:[^']|'')*+)'(?::([0-9A-D,]*+))?")
# What has a meaning in a quoted word.
_ESCAPED = str.maketrans({"'": "''", "\\": "\\\\"})
_PHRASE = re.compile(r'"([^"]*)"?|(\S+)')


def words_of(text: str) -> list[str]:
    """Return the words of a text in one spelling: without accents, case, and characters
    that show nothing.
    """
    if text.isascii():
        # Nothing to take apart: most of what is written, and in a tenth of the time.
        return [word[:MAX_WORD] for word in _WORD.findall(text[:MAX_TEXT].lower())]
    plain = unicodedata.normalize("NFKD", text[:MAX_TEXT]).casefold()[:MAX_TEXT]
    characters = "".join(
        c for c in plain if unicodedata.category(c) not in ("Mn", "Cf", "Cs")
    )
    return [word[:MAX_WORD] for word in _WORD.findall(characters)]


def words_of_address(address: str) -> list[str]:
    """Return what an address is found by: itself, its two sides, each domain above its
    own, and every word in it.
    """
    whole = words_and_signs(address)
    local, _, domain = whole.rpartition("@")
    labels = domain.split(".")
    domains = [".".join(labels[start:]) for start in range(len(labels))]
    # The words come last and in their order, so that the address is also found as a
    # phrase, as in a message.
    words = words_of(address)
    return [
        word[:MAX_WORD]
        for word in dict.fromkeys((whole, local, *domains))
        if word and word not in words
    ] + words


def words_and_signs(text: str) -> str:
    """Return an address in the spelling of `words_of`, with the signs between its
    words.
    """
    if text.isascii():
        return _SHOWS_NOTHING.sub("", text[:MAX_TEXT].lower())
    plain = unicodedata.normalize("NFKD", text[:MAX_TEXT].strip()).casefold()
    return "".join(c for c in plain if unicodedata.category(c)[0] not in "MCZ")


def vector(parts: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return labelled words as PostgreSQL reads a tsvector; of what is longer than it
    keeps, the beginning.
    """
    positions: dict[str, list[str]] = {}
    size = position = 0
    for label, words in parts:
        for word in words:
            position += 1
            found = positions.get(word)
            if found is None:
                if (size := size + len(word.encode()) + 8) > MAX_BYTES:
                    return _written(positions)
                found = positions[word] = []
            if len(found) < MOST_POSITIONS:
                found.append(f"{min(position, MAX_POSITION)}{label}")
    return _written(positions)


def lexemes(stored: str) -> dict[str, set[str]]:
    """Return the words of a tsvector as PostgreSQL writes it, each with its labels.

    Of a word with more positions than PostgreSQL stores it is not known which labels it
    had: it gets all.
    """
    found: dict[str, set[str]] = {}
    for word, text in _LEXEME.findall(stored):
        positions = text.split(",")
        labels = {
            place[-1] if place[-1:] in ("A", "B", "C") else CONTENT
            for place in positions
        }
        if len(positions) >= MOST_POSITIONS or positions[-1].startswith(
            str(MAX_POSITION)
        ):
            labels = {TO, FROM, BY, CONTENT}
        found[word.replace("''", "'").replace("\\\\", "\\")] = labels
    return found


def _written(positions: dict[str, list[str]]) -> str:
    return " ".join(
        f"'{word.translate(_ESCAPED)}':{','.join(found)}"
        for word, found in positions.items()
    )


def asked(text: str, label: str = "") -> str:
    """Return what was typed as PostgreSQL reads a tsquery: all of its words, each as a
    beginning. Empty for none.

    What stands in quotes is found in that order; so is what one word is made of, such
    as `acme.com/pay`.
    """
    terms: list[str] = []
    for phrase, single in _PHRASE.findall(text):
        one = phrase or single
        words = words_of(one)
        if label:
            if len(words) > 1 and not re.search(r"\s", one):
                # An address is kept whole too, so it is asked for whole.
                whole = words_and_signs(one).strip("<>,;@")
                words = [whole[:MAX_WORD]]
            terms += [f"{quoted(word)}:*{label}" for word in words]
        elif words:
            *first, last = map(quoted, words)
            terms.append(" <-> ".join([*first, f"{last}:*"]))
    return " & ".join(f"({term})" for term in terms[:MAX_ASKED])


def quoted(word: str) -> str:
    """Return a word so that none of its characters means anything to PostgreSQL."""
    return f"'{word.translate(_ESCAPED)}'"
