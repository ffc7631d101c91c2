"""Finds invisible characters in a text, such as ZERO WIDTH SPACE, gives each a short
name, and removes them or puts the name in their place.

Sequences that ordinary writing needs (joined emoji, flags, Persian and Indic joiners)
are not marked.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import filterfalse, groupby


def _codes(ranges: str) -> Iterator[int]:
    """Yield the code points of ranges such as "200b-200f feff"."""
    for each in ranges.split():
        first, _, last = each.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


# The kinds of invisible characters. A kind without a name has those of Unicode.
_KINDS = {
    "": "ad 61c 180e 200b-200f 2028-202e 2060 2066-2069 feff",
    "GRAPHEME JOINER": "34f",
    "HANGUL FILLER": "115f-1160 3164 ffa0",
    "KHMER INHERENT VOWEL": "17b4-17b5",
    "INVISIBLE OPERATOR": "2061-2064",
    "BRAILLE BLANK": "2800",
    # Seen, but not as a character: they strike through the one before them.
    "COMBINING STROKE": "335-338 20d2-20d3 20e5-20e6 20ea-20eb",
    "CONTROL CHARACTER": "00-08 0b 0e-1f 7f-9f",
    "VARIATION SELECTOR": "180b-180d 180f fe00-fe0f e0100-e01ef",
    "UNASSIGNED INVISIBLE": "2065 fff0-fff8 e0080-e00ff e01f0-e0fff",
    "DEPRECATED FORMAT CHARACTER": "206a-206f",
    "LONE SURROGATE": "d800-dfff",
    "INTERLINEAR ANNOTATION": "fff9-fffb",
    "SHORTHAND CONTROL": "1bca0-1bca3",
    "MUSICAL CONTROL": "1d173-1d17a",
    "TAG CHARACTER": "e0000-e007f",
}
# The short name of each invisible character, by its code point.
NAMES = {
    code: name or unicodedata.name(chr(code))
    for name, ranges in _KINDS.items()
    for code in _codes(ranges)
}
BIDI = frozenset(NAMES[code] for code in _codes("202a-202e 2066-2069"))
ORDINARY = frozenset(
    {"SOFT HYPHEN", "LEFT-TO-RIGHT MARK", "RIGHT-TO-LEFT MARK", "ARABIC LETTER MARK"}
)

_INVISIBLE = frozenset(map(chr, NAMES))
# Blanks at which no line ends, or of another width than the usual one. So many in a row
# push words out of sight.
_BLANKS = frozenset(map(chr, _codes("a0 1680 2000-200a 202f 205f 3000")))
MANY_BLANKS = 20
# What follows a black flag in those of England, Scotland and Wales.
_FLAGS = frozenset(
    "".join(chr(0xE0000 + ord(letter)) for letter in country) + "\U000e007f"
    for country in ("gbeng", "gbsct", "gbwls")
)
# The byte that each variation selector carries in hidden texts.
_BYTES = {chr(code): byte for byte, code in enumerate(_codes("fe00-fe0f e0100-e01ef"))}

# The most marks in one message: more would bury its text. The characters beyond are
# left out, and one line says how many.
MAX_MARKS = 2000


@dataclass
class Tally:
    """What was found so far in one message: how often each invisible character occurs,
    by its name; texts that are spelled out in invisible characters; and how many marks
    were made and how many characters got none.
    """

    counts: Counter[str] = field(default_factory=Counter)
    secret: list[str] = field(default_factory=list)
    marks: int = 0
    unmarked: int = 0


def without_surrogates(text: str) -> str:
    """Return `text` with lone surrogates, which no encoding can carry, replaced by the
    replacement character.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def pieces(text: str, tally: Tally) -> Iterator[tuple[bool, str]]:
    """Yield (False, ordinary text) and (True, label of a mark), in order, and count
    the invisible characters in `tally`, and very many blanks in a row.
    """
    if not _BLANKS.isdisjoint(text):
        for is_blank, run in groupby(text, _BLANKS.__contains__):
            number = len(list(run))
            if is_blank and number >= MANY_BLANKS:
                tally.counts["BLANK"] += number
    if _INVISIBLE.isdisjoint(text):
        yield False, text
        return
    end = 0
    ordinary = []
    for is_invisible, run in groupby(text, _INVISIBLE.__contains__):
        kept = "".join(run)
        start = end
        end += len(kept)
        invisible = ""
        if is_invisible:
            kept, invisible = _split_run(text, start, end)
        ordinary.append(kept)
        tally.counts.update(NAMES[ord(character)] for character in invisible)
        if invisible and tally.marks >= MAX_MARKS:
            tally.unmarked += len(invisible)
        elif invisible:
            tally.marks += 1
            yield False, "".join(ordinary)
            ordinary.clear()
            number = len(invisible)
            names = list(dict.fromkeys(NAMES[ord(one)] for one in invisible[:64]))
            label = ", ".join(names[:3])
            if secret := _secret_text(invisible):
                tally.secret.append(secret)
                label = f"{number} invisible characters say “{secret}”"
            elif len(names) > 1:
                label = f"{number} invisible characters: {label}"
            elif number > 1:
                label += f" × {number}"
            yield True, label
    yield False, "".join(ordinary)


def named(text: str, tally: Tally | None = None) -> str:
    """Return `text` with each invisible character (or run of them) as a named mark:
    `[ZERO WIDTH SPACE]`.
    """
    parts = pieces(text, tally or Tally())
    return "".join(f"[{piece}]" if is_mark else piece for is_mark, piece in parts)


def stripped(text: str) -> str:
    """Return `text` without its invisible characters, as a person sees it."""
    if _INVISIBLE.isdisjoint(text):
        return text
    return "".join(filterfalse(_INVISIBLE.__contains__, text))


def found_in(text: str) -> Counter[str]:
    """Return the counts by name of the invisible characters in a text of one line."""
    tally = Tally()
    if " " * MANY_BLANKS in text:
        tally.counts["BLANK"] += text.count(" ")
    named(text, tally)
    return tally.counts


def _split_run(text: str, start: int, end: int) -> tuple[str, str]:
    """Return two parts of the run of invisible characters from `start` to `end`: what
    ordinary writing needs, and what is to be marked.
    """
    invisible = text[start:end]
    before = text[start - 1 : start]
    after = text[end : end + 1]
    kept = ""
    if before and not before.isspace() and invisible[0] in "\ufe0e\ufe0f":
        kept = invisible[0]
        invisible = invisible[1:]
    is_joined = "\u0600" <= before <= "\u0dff" or "\u1000" <= before <= "\u109f"
    if (
        (before == "\U0001f3f4" and invisible in _FLAGS)
        or (invisible == "\u200d" and _is_emoji(before) and _is_emoji(after))
        or (invisible in ("\u200c", "\u200d") and is_joined)
    ):
        return kept + invisible, ""
    if start == 0 and invisible == "\ufeff":
        return "", ""  # a byte order mark at the very start is usual
    return kept, invisible


def _is_emoji(character: str) -> bool:
    # Letters such as © and characters that are none are smaller.
    return character >= "\u2190" and unicodedata.category(character) in ("So", "Sk")


def _secret_text(run: str) -> str:
    """Return the text that a run spells in tag characters, or that its variation
    selectors carry as bytes; empty if those are no text of four characters or more.
    """
    spelled = "".join(
        chr(ord(character) - 0xE0000)
        for character in run
        if "\U000e0020" <= character <= "\U000e007e"
    )
    carried = bytes(_BYTES[character] for character in run if character in _BYTES)
    text = carried.decode("utf-8", "ignore")
    is_text = len(text) > 3 and text.isprintable()
    return spelled or (text if is_text else "")
