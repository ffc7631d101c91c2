"""Finds invisible characters in a text, such as ZERO WIDTH SPACE, gives each a short
name, and removes them or puts the name in their place.

Sequences that ordinary writing needs (joined emoji, flags, Persian and Indic joiners)
are not marked.
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
# Shorter names than Unicode's.
NAMES |= {
    0x034F: "GRAPHEME JOINER",
    **dict.fromkeys((0x115F, 0x1160, 0xFFA0), "HANGUL FILLER"),
    **dict.fromkeys((0x17B4, 0x17B5), "KHMER INHERENT VOWEL"),
    **dict.fromkeys(range(0x2061, 0x2065), "INVISIBLE OPERATOR"),
    0x2800: "BRAILLE BLANK",
}
# The other invisible characters, each kind under one name.
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
# Most text consists of these characters alone, and then holds nothing invisible.
_PLAIN = re.compile(r"[ -~\t\n\f\r]*")
# The flags that are written in tag characters: England, Scotland, Wales.
_FLAGS = frozenset({"gbeng", "gbsct", "gbwls"})
_SURROGATES = re.compile("[\ud800-\udfff]")

# Characters that ordinary writing needs next to certain others; elsewhere they are
# marked.
_BY_CONTEXT = frozenset("\u200c\u200d\ufeff\ufe0e\ufe0f")

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
    the invisible characters in `tally`.
    """
    if _PLAIN.fullmatch(text):
        yield False, text
        return
    end = 0
    ordinary = []
    for run in _RUN.finditer(text):
        kept = ""
        invisible = run.group()
        if len(invisible) > 1 or invisible in _BY_CONTEXT:
            kept, invisible = _judge(text, run)
        ordinary.append(text[end : run.start()] + kept)
        end = run.end()
        for character in invisible:
            tally.counts[name_of(character)] += 1
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
            names = list(dict.fromkeys(map(name_of, head)))
            if len(set(head)) > 1:
                listed = ", ".join(names[:3])
                yield True, f"{len(invisible)} invisible characters: {listed}"
            else:
                times = f" × {len(invisible)}" if len(invisible) > 1 else ""
                yield True, f"{names[0]}{times}"
    yield False, "".join(ordinary) + text[end:]


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
    return text if _PLAIN.fullmatch(text) else _RUN.sub("", text)


def found_in(text: str) -> Counter[str]:
    """Return the counts by name of the invisible characters in `text`."""
    tally = Tally()
    for _ in pieces(text, tally):
        pass
    return tally.counts


def _judge(text: str, run: re.Match[str]) -> tuple[str, str]:
    """Return two parts of a run of invisible characters: what ordinary writing needs,
    and what is to be marked.
    """
    invisible = run.group()
    before = text[run.start() - 1] if run.start() else ""
    after = text[run.end()] if run.end() < len(text) else ""
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
    if run.start() == 0 and invisible == "\ufeff":
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
