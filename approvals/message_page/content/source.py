"""The letter as it was written: its parts word by word, in stretches that a page can hold. It leaves nothing out.

Pure. What cannot be seen is named; a text too long for one page is cut, which is said, and the rest is a page further.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from common.fingerprint import Content
from rendering.invisibles import NAMES, Tally, pieces, without_surrogates

# So much text is one page: some hundred kilobytes are laid out in a moment, a megabyte in one line is not.
STRETCH = 60_000
# A page ends at the end of a line where there is one so near.
SLACK = 4_000
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Stretch:
    """One page of a text: `parts` are its words, with marks for what cannot be seen; from `start` to `end`."""

    label: str
    parts: tuple[tuple[bool, str], ...]
    start: int
    end: int
    total: int
    page: int = 1
    pages: int = 1
    unmarked: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether this page holds all of the text."""
        return self.pages == 1

    @property
    def first(self) -> int:
        """The number of its first character, as people count."""
        return self.start + 1


def stretch_of(text: str, *, page: int, label: str = "", size: int = STRETCH) -> Stretch:
    """Return one page of a text; a page beyond the last is the last."""
    text = without_surrogates(text)
    cuts = _cuts(text, size)
    page = max(1, min(page, len(cuts) - 1))
    start, end = cuts[page - 1], cuts[page]
    tally = Tally()
    parts = tuple(part for part in _named(text[start:end], tally) if part[1])
    return Stretch(label, parts, start, end, len(text), page, len(cuts) - 1, tally.unmarked)


def source_of(content: Content, *, page: int) -> tuple[Stretch, ...]:
    """Return one page of each part that the letter has; a part that has no such page is left out."""
    texts: Sequence[tuple[str, str | None]] = (("HTML", content.html), ("Markdown", content.markdown))
    given = [(label, text) for label, text in texts if text is not None]
    last = max((page_count(text) for _, text in given), default=1)
    page = max(1, min(page, last))
    return tuple(stretch_of(text, page=page, label=label) for label, text in given if page <= page_count(text))


def page_count(text: str, *, size: int = STRETCH) -> int:
    """Return on how many pages a text stands."""
    return len(_cuts(text, size)) - 1


def _cuts(text: str, size: int) -> list[int]:
    cuts = [0]
    while len(text) - cuts[-1] > size:
        end = cuts[-1] + size
        line = text.rfind("\n", max(cuts[-1], end - SLACK), end)
        cuts.append(line + 1 if line > cuts[-1] else end)
    return [*cuts, len(text)]


def _named(text: str, tally: Tally) -> Sequence[tuple[bool, str]]:
    # At the very start of a letter it says nothing; here, where everything is shown as it is written, it is told.
    if text.startswith(BYTE_ORDER_MARK):
        return [(True, NAMES[ord(BYTE_ORDER_MARK)]), *pieces(text[1:], tally)]
    return list(pieces(text, tally))
