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
    0x00AD: "SOFT HYPHEN",
    0x034F: "GRAPHEME JOINER",
    0x061C: "ARABIC LETTER MARK",
    0x115F: "HANGUL FILLER",
    0x1160: "HANGUL FILLER",
    0x17B4: "KHMER INHERENT VOWEL",
    0x17B5: "KHMER INHERENT VOWEL",
    0x180E: "MONGOLIAN VOWEL SEPARATOR",
    0x200B: "ZERO WIDTH SPACE",
    0x200C: "ZERO WIDTH NON-JOINER",
    0x200D: "ZERO WIDTH JOINER",
    0x200E: "LEFT-TO-RIGHT MARK",
    0x200F: "RIGHT-TO-LEFT MARK",
    0x2028: "LINE SEPARATOR",
    0x2029: "PARAGRAPH SEPARATOR",
    0x202A: "LEFT-TO-RIGHT EMBEDDING",
    0x202B: "RIGHT-TO-LEFT EMBEDDING",
    0x202C: "POP DIRECTIONAL FORMATTING",
    0x202D: "LEFT-TO-RIGHT OVERRIDE",
    0x202E: "RIGHT-TO-LEFT OVERRIDE",
    0x2060: "WORD JOINER",
    0x2061: "INVISIBLE OPERATOR",
    0x2062: "INVISIBLE OPERATOR",
    0x2063: "INVISIBLE OPERATOR",
    0x2064: "INVISIBLE OPERATOR",
    0x2066: "LEFT-TO-RIGHT ISOLATE",
    0x2067: "RIGHT-TO-LEFT ISOLATE",
    0x2068: "FIRST STRONG ISOLATE",
    0x2069: "POP DIRECTIONAL ISOLATE",
    0x2800: "BRAILLE BLANK",
    0x3164: "HANGUL FILLER",
    0xFEFF: "ZERO WIDTH NO-BREAK SPACE",
    0xFFA0: "HANGUL FILLER",
}
_RANGES = (
    (0x00, 0x08, "CONTROL CHARACTER"),
    (0x0B, 0x0B, "CONTROL CHARACTER"),
    (0x0E, 0x1F, "CONTROL CHARACTER"),
    (0x7F, 0x9F, "CONTROL CHARACTER"),
    (0x180B, 0x180D, "VARIATION SELECTOR"),
    (0x180F, 0x180F, "VARIATION SELECTOR"),
    (0x2065, 0x2065, "UNASSIGNED INVISIBLE"),
    (0x206A, 0x206F, "DEPRECATED FORMAT CHARACTER"),
    (0xD800, 0xDFFF, "LONE SURROGATE"),
    (0xFE00, 0xFE0F, "VARIATION SELECTOR"),
    (0xFFF0, 0xFFF8, "UNASSIGNED INVISIBLE"),
    (0xFFF9, 0xFFFB, "INTERLINEAR ANNOTATION"),
    (0x1BCA0, 0x1BCA3, "SHORTHAND CONTROL"),
    (0x1D173, 0x1D17A, "MUSICAL CONTROL"),
    (0xE0000, 0xE007F, "TAG CHARACTER"),
    (0xE0080, 0xE00FF, "UNASSIGNED INVISIBLE"),
    (0xE0100, 0xE01EF, "VARIATION SELECTOR"),
    (0xE01F0, 0xE0FFF, "UNASSIGNED INVISIBLE"),
)
BIDI = frozenset(
    NAMES[code]
    for code in (0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069)
)
ORDINARY = frozenset(
    {"SOFT HYPHEN", "LEFT-TO-RIGHT MARK", "RIGHT-TO-LEFT MARK", "ARABIC LETTER MARK"}
)

_CLASS = "".join(re.escape(chr(code)) for code in NAMES) + "".join(
    f"{chr(a)}-{chr(b)}" for a, b, _ in _RANGES
)
_RUN = re.compile(f"[{_CLASS}]+")
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
    return next(
        (name for first, last, name in _RANGES if first <= code <= last),
        "INVISIBLE CHARACTER",
    )


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
        whole = run.group()
        needed, found = (
            _judge(text, run) if len(whole) > 1 or whole in _BY_CONTEXT else ("", whole)
        )
        ordinary.append(text[at : run.start()] + needed)
        at = run.end()
        for character in found:
            tally.counts[name_of(character)] += 1
        if found and tally.marks >= MAX_MARKS:
            tally.unmarked += len(found)
        elif found:
            tally.marks += 1
            yield False, "".join(ordinary)
            yield True, _label(found, tally)
            ordinary.clear()
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
    if found in ("\u200c", "\u200d") and _needs_joiners(before):
        return needed + found, ""
    if run.start() == 0 and found == "\ufeff":
        return "", ""  # a byte order mark at the very start says nothing
    return needed, found


def _is_emoji(character: str) -> bool:
    return (
        bool(character)
        and ord(character) >= 0x2190
        and unicodedata.category(character) in ("So", "Sk")
    )


def _needs_joiners(character: str) -> bool:
    return bool(character) and (
        0x0600 <= ord(character) <= 0x0DFF or 0x1000 <= ord(character) <= 0x109F
    )


def _label(found: str, tally: Tally) -> str:
    says = _tag_text(found) or _selector_text(found)
    if says:
        tally.secret.append(says)
        return f"{len(found)} invisible characters say “{says}”"
    names = list(dict.fromkeys(map(name_of, found[:64])))
    if len(names) > 1 or len(set(found[:64])) > 1:
        return f"{len(found)} invisible characters: {', '.join(names[:3])}"
    return names[0] if len(found) == 1 else f"{names[0]} × {len(found)}"


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
