"""Characters that cannot be seen but change what is read: finds them and gives each a
short name.

Sequences that ordinary writing needs (joined emoji, flags, Persian and Indic joiners)
are left alone.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

NAMES = {
    code: unicodedata.name(chr(code))
    for code in (
        *(0x00AD, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F)),
        *(0x2060, *range(0x2066, 0x206A), 0x3164, 0xFEFF),
    )
}
# These by shorter names than Unicode's.
NAMES |= {
    0x034F: "GRAPHEME JOINER",
    **dict.fromkeys((0x115F, 0x1160, 0xFFA0), "HANGUL FILLER"),
    **dict.fromkeys((0x17B4, 0x17B5), "KHMER INHERENT VOWEL"),
    **dict.fromkeys(range(0x2061, 0x2065), "INVISIBLE OPERATOR"),
    0x2800: "BRAILLE BLANK",
}
# The others.
_OTHERS = {
    name: re.compile(f"[{characters}]")
    for name, characters in {
        "CONTROL CHARACTER": r"\x00-\x08\x0b\x0e-\x1f\x7f-\x9f",
        "VARIATION SELECTOR": r"\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef",
        "UNASSIGNED INVISIBLE": r"\u2065\ufff0-\ufff8\U000e0080-\U000e00ff\U000e01f0-\U000e0fff",
        "DEPRECATED FORMAT CHARACTER": r"\u206a-\u206f",
        "LONE SURROGATE": r"\ud800-\udfff",
        "INTERLINEAR ANNOTATION": r"\ufff9-\ufffb",
        "SHORTHAND CONTROL": r"\U0001bca0-\U0001bca3",
        "MUSICAL CONTROL": r"\U0001d173-\U0001d17a",
        "TAG CHARACTER": r"\U000e0000-\U000e007f",
    }.items()
}
BIDI = frozenset(
    NAMES[code] for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
ORDINARY = frozenset(
    {"SOFT HYPHEN", "LEFT-TO-RIGHT MARK", "RIGHT-TO-LEFT MARK", "ARABIC LETTER MARK"}
)

_ANY = "|".join([*map(chr, NAMES), *(one.pattern for one in _OTHERS.values())])
_RUN = re.compile(f"(?:{_ANY})+")
# Text of these alone, as most of a message is, holds none of them.
_PLAIN = re.compile(r"[ -~\t\n\f\r]*")
_FLAGS = frozenset({"gbeng", "gbsct", "gbwls"})
_SURROGATES = re.compile("[\ud800-\udfff]")

# What ordinary writing needs next to certain characters; anywhere else it is marked.
_BY_CONTEXT = frozenset("\u200c\u200d\ufeff\ufe0e\ufe0f")

# More marks than this in one message would only bury it; the rest is counted and
# announced once.
MAX_MARKS = 2000


@dataclass
class Tally:
    """What was found so far in one message: counts by name, and text written in
    characters that show nothing.
    """

    counts: Counter[str] = field(default_factory=Counter)
    secret: list[str] = field(default_factory=list)
    marks: int = 0
    unmarked: int = 0


@cache
def name_of(character: str) -> str:
    """Return the short name of an invisible character."""
    code = ord(character)
    if code in NAMES:
        return NAMES[code]
    return next(name for name, others in _OTHERS.items() if others.match(character))


def without_surrogates(text: str) -> str:
    """Return `text` with lone surrogates, which no encoding can carry, replaced by the
    replacement character.
    """
    return _SURROGATES.sub("\ufffd", text)


def pieces(text: str, tally: Tally) -> Iterator[tuple[bool, str]]:
    """Yield (False, ordinary text) and (True, label of a mark), in order, and count
    what was found in `tally`.
    """
    if _PLAIN.fullmatch(text):
        yield False, text
        return
    at = 0
    ordinary = []
    for run in _RUN.finditer(text):
        needed = ""
        found = run.group()
        if len(found) > 1 or found in _BY_CONTEXT:
            needed, found = _judge(text, run)
        ordinary.append(text[at : run.start()] + needed)
        at = run.end()
        for character in found:
            tally.counts[name_of(character)] += 1
        if found and tally.marks >= MAX_MARKS:
            tally.unmarked += len(found)
        elif found:
            tally.marks += 1
            yield False, "".join(ordinary)
            ordinary.clear()
            says = _tag_text(found) or _selector_text(found)
            if says:
                tally.secret.append(says)
                yield True, f"{len(found)} invisible characters say “{says}”"
                continue
            head = found[:64]
            names = list(dict.fromkeys(map(name_of, head)))
            if len(set(head)) > 1:
                listed = ", ".join(names[:3])
                yield True, f"{len(found)} invisible characters: {listed}"
            else:
                times = f" × {len(found)}" if len(found) > 1 else ""
                yield True, f"{names[0]}{times}"
    yield False, "".join(ordinary) + text[at:]


def named(text: str, tally: Tally | None = None) -> str:
    """Return `text` with each invisible character (or run of them) as a named mark:
    `[ZERO WIDTH SPACE]`.
    """
    return "".join(
        f"[{piece}]" if mark else piece
        for mark, piece in pieces(text, tally or Tally())
    )


def stripped(text: str) -> str:
    """Return `text` without its invisible characters, as it reads to a person."""
    return text if _PLAIN.fullmatch(text) else _RUN.sub("", text)


def found_in(text: str) -> Counter[str]:
    """Return the counts by name of the invisible characters in `text`."""
    tally = Tally()
    for _ in pieces(text, tally):
        pass
    return tally.counts


def _judge(text: str, run: re.Match[str]) -> tuple[str, str]:
    """Split a run into what ordinary writing needs and what is to be marked."""
    found = run.group()
    before = text[run.start() - 1] if run.start() else ""
    after = text[run.end()] if run.end() < len(text) else ""
    needed = ""
    if before and not before.isspace() and found[0] in "\ufe0e\ufe0f":
        needed = found[0]
        found = found[1:]
    if (
        before == "\U0001f3f4"
        and found.endswith("\U000e007f")
        and _tag_text(found) in _FLAGS
    ):
        return needed + found, ""
    if found == "\u200d" and _is_emoji(before) and _is_emoji(after):
        return needed + found, ""
    is_joined = "\u0600" <= before <= "\u0dff" or "\u1000" <= before <= "\u109f"
    if found in ("\u200c", "\u200d") and is_joined:
        return needed + found, ""
    if run.start() == 0 and found == "\ufeff":
        return "", ""  # a byte order mark at the very start says nothing
    return needed, found


def _is_emoji(character: str) -> bool:
    is_sign = character >= "\u2190"
    return is_sign and unicodedata.category(character) in ("So", "Sk")


def _tag_text(found: str) -> str:
    """Return the ASCII text that tag characters spell out."""
    return "".join(chr(ord(c) - 0xE0000) for c in found if 0xE0020 <= ord(c) <= 0xE007E)


def _selector_text(found: str) -> str:
    """Return the text smuggled as bytes in variation selectors (VS1 is byte 0, VS17
    byte 16), if it reads as text.
    """
    data = bytearray()
    for character in found:
        code = ord(character)
        if 0xFE00 <= code <= 0xFE0F:
            data.append(code - 0xFE00)
        elif 0xE0100 <= code <= 0xE01EF:
            data.append(code - 0xE0100 + 16)
    text = data.decode("utf-8", "ignore")
    return text if len(text) > 3 and text.isprintable() else ""
