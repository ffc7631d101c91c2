"""The elements of a message with the text in them, as it is written, and what is told of one that is read otherwise."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rendering.boxes import Style
from rendering.shown import ReorderedText

# Characters of each reading that are looked at, and that are shown.
MAX_READ, MAX_SHOWN = 4000, 240
# Words of the same text before the first that differs.
SAME_BEFORE = 40
WORD = re.compile(r"\w")


@dataclass(slots=True, eq=False)
class Box:
    """An element, with the text and the elements inside it in the order in which they are written."""

    tag: str
    style: Style
    above: "Box | None"
    size: float = 16.0
    parts: "list[str | Box]" = field(default_factory=list)
    has_words: bool = False
    is_block: bool = False
    is_apart: bool = False  # what stands beside it is no part of its words
    has_breaks: bool = False
    floats: str = ""  # the side that it floats to
    follows_words: bool = False  # on the line that it starts in
    starts_at: int = 0  # behind so many letters of it
    is_rtl: bool = False
    inset: float = 0.0  # how far its left edge lies inside of what it could be pulled out of
    drift: float = 0.0  # how far it and those around it were moved by little
    moved: "list[Box]" = field(default_factory=list)  # in it, and drawn elsewhere
    how: str = ""  # by what it is drawn elsewhere itself
    is_item: bool = False  # of an element that arranges what is in it
    said: int = 0  # how many words are in it
    words: int = 0  # in it that are drawn from right to left, and those of them that are written so
    rtl_words: int = 0
    number: int = 0  # in the order in which elements begin

    def text(self) -> Iterator[str]:
        """Yield what it says, as it is written."""
        yield " " if self.is_apart else ""
        yield "[" if self.how else ""
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                yield from part.text()
        yield "]" if self.how else ""
        yield " " if self.is_apart else ""


def has_words(part: "str | Box") -> bool:
    return bool(WORD.search(part)) if isinstance(part, str) else part.has_words


def cut_text(box: Box) -> str:
    return text_of(box.parts)


def text_of(parts: "list[str | Box]") -> str:
    said: list[str] = []
    room = MAX_READ
    for part in parts:
        for piece in [part] if isinstance(part, str) else part.text():
            said.append(piece[:room])
            room -= len(piece)
            if room <= 0:
                return " ".join("".join(said).split())
    return " ".join("".join(said).split())


def readings(how: str, written: str, read: str, *, at: int = 0) -> ReorderedText:
    """Return both readings from shortly before the first words that differ; without a second one, from before `at`."""
    if not read or read == written:
        return ReorderedText(how, _start(written, _word_before(written, at)), "")
    pairs = zip(written, read, strict=False)
    same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(written), len(read)))
    at = _word_before(written, same)
    return ReorderedText(how, _start(written, at), _start(read, at))


def _word_before(text: str, at: int) -> int:
    """Return where the words begin that stand shortly before this place."""
    return text.rfind(" ", 0, at - SAME_BEFORE) + 1 if at > SAME_BEFORE else 0


def _start(text: str, at: int) -> str:
    return ("… " if at else "") + text[at : at + MAX_SHOWN].strip() + (" …" if len(text) > at + MAX_SHOWN else "")
