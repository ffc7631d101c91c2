"""Splits text into the words by which messages and history are searched. Stored text
and search queries are split in the same way. Pure.

PostgreSQL only stores and compares the words. Its own parser would take `acme.com/pay`
for one address, and a search for `pay` would not find it. Each word has a label that
says which part of the message it is from, so that `to:` finds recipients and `from:`
senders.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, groupby
from typing import Literal

# Where a word is: in the recipients, the sender, the person or program that started it,
# or the message itself.
TO = "A"
FROM = "B"
BY = "C"
CONTENT = "D"

# A tsvector can have words of up to 2046 bytes and positions up to 16383; it has at
# most a megabyte, of which a position takes two bytes. MAX_BYTES is for the words
# alone, and MAX_TEXT is the number of characters of a text that are read.
MAX_WORD = 60
MAX_POSITION = 16_383
MAX_BYTES = 500_000
MAX_TEXT = 200_000
# Characters of a text that is no message, such as a name or a reason.
MAX_SHORT = 2000
# Characters of an address. No real one is longer, and it has a word for each domain
# above its own.
MAX_ADDRESS = 400
# PostgreSQL stores at most so many positions of a word.
MOST_POSITIONS = 255
# How many words or phrases a search can have.
MAX_ASKED = 12

# The first and last letters of scripts that put no blanks between words: Thai and Lao,
# Burmese, Khmer, Japanese and Chinese.
UNSPACED = [
    ends.split("-")
    for ends in "\u0e00-\u0eff \u1000-\u109f \u1780-\u17ff \u3040-\u30ff \u3400-\u9fff \U00020000-\U0003ffff".split()
]
# Characters that have a meaning in a quoted word.
_ESCAPED = str.maketrans({"'": "''", "\\": "\\\\"})


@lru_cache(maxsize=20_000)
def _folded(character: str) -> str:
    """Return a character in lower case and without accents; nothing for one that shows
    nothing.

    Each is folded by itself: to normalize a whole text takes quadratic time if it has
    many accents in a row.
    """
    plain = unicodedata.normalize("NFKD", character).casefold()
    return "".join(
        one for one in plain if unicodedata.category(one) not in ("Mn", "Cf", "Cs")
    )


def words_of(text: str, *, sign: str = " ") -> list[str]:
    """Return the words of a text in one spelling: in lower case, without accents and
    invisible characters. What is no letter, digit or blank is read as `sign`.
    """
    return [word[:MAX_WORD] for word in _whole_words(text, sign)]


def _whole_words(text: str, sign: str = " ") -> list[str]:
    folded = "".join(map(_folded, text[:MAX_TEXT]))[:MAX_TEXT]
    letters = (
        one if one.isalnum() or one.isspace() or one == "_" else sign for one in folded
    )
    return "".join(letters).split()


def is_read_whole(text: str) -> bool:
    """Whether all words of a text are read, because it is not longer than MAX_TEXT."""
    if len(text) > MAX_TEXT or text.isascii():
        return len(text) <= MAX_TEXT
    return sum(map(len, map(_folded, text))) <= MAX_TEXT


@lru_cache(maxsize=20_000)
def is_unspaced(character: str) -> bool:
    """Whether a character is of a script that puts no blanks between words."""
    return any(first <= character <= last for first, last in UNSPACED)


def _may_be_unspaced(text: str) -> bool:
    # Quick for most texts.
    return max(text, default="") >= UNSPACED[0][0]


def apart(word: str) -> list[str]:
    """Return a word in pieces: each character of a script without blanks alone."""
    pieces: list[str] = []
    is_alone = True
    for character in word:
        was_alone = is_alone
        is_alone = is_unspaced(character)
        if is_alone or was_alone:
            pieces.append(character)
        else:
            pieces[-1] += character
    return pieces


def pieces_of(text: str) -> list[str]:
    """Return the words of a text as `words_of` does, each of them `apart`."""
    if not _may_be_unspaced(text):
        return words_of(text)
    words = _whole_words(text)
    return [piece[:MAX_WORD] for word in words for piece in apart(word)]


def pairs_of(text: str) -> list[str]:
    """Return what a part of a word is found by, if its script has no blanks: each pair
    of neighbouring characters, the last one, and what is not of such a script.
    """
    pairs: list[str] = []
    if not _may_be_unspaced(text):
        return pairs
    for word in _whole_words(text):
        if any(map(is_unspaced, word)):
            pieces = apart(word)
            for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
                is_pair = following and is_unspaced(piece) and is_unspaced(following)
                pairs.append((piece + following if is_pair else piece)[:MAX_WORD])
    return pairs


def joined(pieces: Sequence[str]) -> str:
    """Return pieces as a text, with blanks where their scripts have some."""
    text = ""
    for piece in pieces:
        if text and not (is_unspaced(text[-1]) and is_unspaced(piece[0])):
            text += " "
        text += piece
    return text


def words_of_address(address: str) -> list[str]:
    """Return the words by which an address is found: the whole address, the part before
    the @, its domain, each domain above that, and every word in the address.
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


_PHRASES = frozenset("\ufdfa\ufdfb")


def normalized(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return a text in a normal form of Unicode. It is normalized in short pieces,
    because accents in a row take quadratic time. Two letters that stand for whole
    phrases of prayers stay as they are: they would make the text 18 times as long.
    """
    pieces = (text[at : at + 500] for at in range(0, len(text), 500))
    return "".join(_normalized_piece(form, one) for one in pieces)


def _normalized_piece(form: Literal["NFC", "NFKC"], piece: str) -> str:
    if _PHRASES.isdisjoint(piece):
        return unicodedata.normalize(form, piece)
    parts = (
        (is_kept, "".join(letters))
        for is_kept, letters in groupby(piece, _PHRASES.__contains__)
    )
    return "".join(
        part if is_kept else unicodedata.normalize(form, part)
        for is_kept, part in parts
    )


def words_and_signs(text: str) -> str:
    """Return an address in the spelling of `words_of`, but whole: with the signs
    between its words.
    """
    folded = "".join(map(_folded, text[:MAX_ADDRESS]))
    return "".join(one for one in folded if unicodedata.category(one)[0] not in "MCZ")


# Cached: many rows have the same texts, such as names, addresses and ids.
@lru_cache(maxsize=4096)
def words_of_names(text: str) -> tuple[str, ...]:
    """Return the words of a short text, those of each address in it as from
    `words_of_address`.
    """
    if "@" not in text:
        return tuple(words_of(text))
    parts = text.replace(",", " ").replace(";", " ").split()
    return tuple(
        word
        for part in parts
        for word in (words_of_address if "@" in part else words_of)(part)
    )


def indexed(texts: Iterable[tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the parts of a `vector` for pairs of a label and a text, which is cut at
    MAX_SHORT characters.
    """
    cut = [(label, text[:MAX_SHORT]) for label, text in texts]
    return [(label, (*words_of_names(text), *pairs_of(text))) for label, text in cut]


def vector(parts: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return labelled words as PostgreSQL reads a tsvector. What does not fit into one
    is left out at the end. A part is a label and its words.
    """
    positions: dict[str, list[str]] = {}
    size = position = 0
    for label, words in parts:
        for word in words:
            position += 1
            word_positions = positions.get(word)
            if word_positions is None:
                if (size := size + len(word.encode()) + 8) > MAX_BYTES:
                    return _written(positions)
                word_positions = positions[word] = []
            if len(word_positions) < MOST_POSITIONS:
                word_positions.append(f"{min(position, MAX_POSITION)}{label}")
    return _written(positions)


def lexemes(stored: str) -> dict[str, set[str]]:
    """Return the words of a tsvector as PostgreSQL writes it, such as `'it''s':1A,3
    'word':2B`, each with its labels.

    PostgreSQL may have dropped positions of a word, and with them labels. Such a word
    gets all labels.
    """
    labels_by_word: dict[str, set[str]] = {}
    for lexeme in stored.split():
        # The last quotation mark ends the word.
        word, _, text = lexeme[1:].rpartition("'")
        positions = text.removeprefix(":").split(",")
        labels = set[str]()
        for position in positions:
            labels.add(position[-1] if position[-1:] in ("A", "B", "C") else CONTENT)
        if len(positions) >= MOST_POSITIONS or positions[-1].startswith(
            str(MAX_POSITION)
        ):
            labels = {TO, FROM, BY, CONTENT}
        labels_by_word[word.replace("''", "'").replace("\\\\", "\\")] = labels
    return labels_by_word


def is_full(words: Iterable[str]) -> bool:
    """Whether `vector` may have left out others, because there are so many words."""
    size = sum(len(word.encode()) + 8 for word in words)
    # A character takes at most four bytes.
    return size > MAX_BYTES - 8 - 4 * MAX_WORD


# Returns a tsvector as text, from the positions of each word.
def _written(positions: dict[str, list[str]]) -> str:
    return " ".join(
        f"'{word.translate(_ESCAPED)}':{','.join(word_positions)}"
        for word, word_positions in positions.items()
    )


def asked(text: str, label: str = "") -> str:
    """Return what was typed as a tsquery for PostgreSQL. It finds rows that have all
    its words; a single word, or the last of a phrase, may be the beginning of a longer
    one. Empty if no word was typed.

    Words in quotes are found only in that order, and so are the parts of one word such
    as `acme.com/pay`. With a label, only words with that label are found.
    """
    # Every second part is in quotes.
    parts = enumerate(text.split('"'))
    typed = ([part] if number % 2 else part.split() for number, part in parts)
    terms: list[str] = []
    for term in chain.from_iterable(typed):
        words = words_of(term)
        if label:
            is_address = ("@" in term or "." in term) and len(term.split()) == 1
            if label != BY and len(words) > 1 and is_address:
                # The address of a sender or recipient is also stored whole, so it is
                # searched for whole.
                whole = words_and_signs(term).strip("<>,;@")
                words = [whole[:MAX_WORD]]
            terms += [_begun(word, label) for word in words]
        elif any(map(is_unspaced, "".join(words))):
            terms += [_begun(word) for word in words]
        elif words:
            *first, last = map(quoted, words)
            terms.append(" <-> ".join([*first, f"{last}:*"]))
    return " & ".join(f"({term})" for term in terms[:MAX_ASKED])


# Returns the condition that there is a word that begins so, or has it inside if its
# script has no blanks.
def _begun(word: str, label: str = "") -> str:
    pairs = [f"{quoted(pair)}:*{label}" for pair in pairs_of(word)]
    return " | ".join(filter(None, [f"{quoted(word)}:*{label}", " & ".join(pairs)]))


def quoted(word: str) -> str:
    """Return a word so that none of its characters means anything to PostgreSQL."""
    return f"'{word.translate(_ESCAPED)}'"
