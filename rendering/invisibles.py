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

# The short name of each invisible character, by its code point.
NAMES = {
    code: unicodedata.name(chr(code))
    for code in (
        *(0x00AD, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F)),
        *(0x2060, *range(0x2066, 0x206A), 0x3164, 0xFEFF),
    )
}
# Shorter names than Unicode's.
NAMES |= {
    0x034F: "GRAPHEME JOINER",
    **dict.fromkeys((0x115F, 0x1160, 0xFFA0), "HANGUL FILLER"),
    **dict.fromkeys((0x17B4, 0x17B5), "KHMER INHERENT VOWEL"),
    **dict.fromkeys(range(0x2061, 0x2065), "INVISIBLE OPERATOR"),
    0x2800: "BRAILLE BLANK",
    # Seen, but not as a character: they strike through the one before them.
    **dict.fromkeys(
        (*range(0x0335, 0x0339), 0x20D2, 0x20D3, 0x20E5, 0x20E6, 0x20EA, 0x20EB),
        "COMBINING STROKE",
    ),
}
# The kinds that have one name, each as ranges of code points.
NAMES |= {
    code: name
    for name, ranges in {
        "CONTROL CHARACTER": "00-08 0b-0b 0e-1f 7f-9f",
        "VARIATION SELECTOR": "180b-180d 180f-180f fe00-fe0f e0100-e01ef",
        "UNASSIGNED INVISIBLE": "2065-2065 fff0-fff8 e0080-e00ff e01f0-e0fff",
        "DEPRECATED FORMAT CHARACTER": "206a-206f",
        "LONE SURROGATE": "d800-dfff",
        "INTERLINEAR ANNOTATION": "fff9-fffb",
        "SHORTHAND CONTROL": "1bca0-1bca3",
        "MUSICAL CONTROL": "1d173-1d17a",
        "TAG CHARACTER": "e0000-e007f",
    }.items()
    for first, last in (pair.split("-") for pair in ranges.split())
    for code in range(int(first, 16), int(last, 16) + 1)
}
BIDI = frozenset(
    NAMES[code] for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
ORDINARY = frozenset(
    {"SOFT HYPHEN", "LEFT-TO-RIGHT MARK", "RIGHT-TO-LEFT MARK", "ARABIC LETTER MARK"}
)

_INVISIBLE = frozenset(map(chr, NAMES))
# Blanks at which no line ends, or of another width than the usual one. So many in a row
# push words out of sight.
_BLANKS = frozenset(
    "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
)
MANY_BLANKS = 20
# The flags that are written in tag characters: England, Scotland, Wales.
_FLAGS = frozenset({"gbeng", "gbsct", "gbwls"})

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
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


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
            kept, invisible = _judge(text, start, end)
        ordinary.append(kept)
        for character in invisible:
            tally.counts[NAMES[ord(character)]] += 1
        if invisible and tally.marks >= MAX_MARKS:
            tally.unmarked += len(invisible)
        elif invisible:
            tally.marks += 1
            yield False, "".join(ordinary)
            ordinary.clear()
            secret = _tag_text(invisible) or _selector_text(invisible)
            if secret:
                tally.secret.append(secret)
                yield True, f"{len(invisible)} invisible characters say “{secret}”"
                continue
            head = invisible[:64]
            names = list(dict.fromkeys(NAMES[ord(one)] for one in head))
            if len(set(head)) > 1:
                listed = ", ".join(names[:3])
                yield True, f"{len(invisible)} invisible characters: {listed}"
            else:
                times = f" × {len(invisible)}" if len(invisible) > 1 else ""
                yield True, f"{names[0]}{times}"
    yield False, "".join(ordinary)


def named(text: str, tally: Tally | None = None) -> str:
    """Return `text` with each invisible character (or run of them) as a named mark:
    `[ZERO WIDTH SPACE]`.
    """
    parts = []
    for mark, piece in pieces(text, tally or Tally()):
        parts.append(f"[{piece}]" if mark else piece)
    return "".join(parts)


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
    for _ in pieces(text, tally):
        pass
    return tally.counts


def _judge(text: str, start: int, end: int) -> tuple[str, str]:
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
    if (
        before == "\U0001f3f4"
        and invisible.endswith("\U000e007f")
        and _tag_text(invisible) in _FLAGS
    ):
        return kept + invisible, ""
    if invisible == "\u200d" and _is_emoji(before) and _is_emoji(after):
        return kept + invisible, ""
    is_joined = "\u0600" <= before <= "\u0dff" or "\u1000" <= before <= "\u109f"
    if invisible in ("\u200c", "\u200d") and is_joined:
        return kept + invisible, ""
    if start == 0 and invisible == "\ufeff":
        return "", ""  # a byte order mark at the very start is usual
    return kept, invisible


def _is_emoji(character: str) -> bool:
    is_sign = character >= "\u2190"
    return is_sign and unicodedata.category(character) in ("So", "Sk")


def _tag_text(run: str) -> str:
    """Return the ASCII text that the tag characters in a run spell out."""
    return "".join(
        chr(ord(character) - 0xE0000)
        for character in run
        if 0xE0020 <= ord(character) <= 0xE007E
    )


def _selector_text(run: str) -> str:
    """Return the text that variation selectors carry as bytes (VS1 is byte 0, VS17 byte
    16); empty if the bytes are no text of four characters or more.
    """
    data = bytearray()
    for character in run:
        code = ord(character)
        if 0xFE00 <= code <= 0xFE0F:
            data.append(code - 0xFE00)
        elif 0xE0100 <= code <= 0xE01EF:
            data.append(code - 0xE0100 + 16)
    text = data.decode("utf-8", "ignore")
    return text if len(text) > 3 and text.isprintable() else ""
