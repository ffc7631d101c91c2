"""Finds the places in which texts of one template differ, and what each text says
there.

Pure, and bounded for hostile texts. In a place where most texts say the same, the
others differ ("odd"); where they do not agree, each text has a value of its own, such
as a name or an order number.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from approvals.message_page.content.word_diff import Effort, common_blocks, words_in

# A block that two texts share: where it begins in each, and its length, in words.
Block = tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """What each text says in one place, and where in the text that begins. `most` is
    None where they do not agree.
    """

    values: tuple[str, ...]
    starts: tuple[int, ...]
    most: str | None

    def is_odd(self, index: int) -> bool:
        """Whether this text says something else than most."""
        return self.most is not None and self.values[index] != self.most


def agreed(values: Sequence[str]) -> str | None:
    """Return the value that more than half share; None where there is no such value."""
    value, number = Counter(values).most_common(1)[0]
    return value if number * 2 > len(values) else None


def places_of(texts: Sequence[str], effort: Effort) -> list[Place] | None:
    """Return the places in which the texts differ, in order; None where comparing them
    would cost too much.
    """
    words = [words_in(text) for text in texts]
    shared: list[Sequence[Block]] = []
    for other in words:
        blocks = common_blocks(words[0], other, effort)
        if blocks is None:
            return None
        shared.append(blocks)
    spans = _joined((gap for blocks in shared for gap in _gaps(blocks)), words[0])
    offsets = [[0, *accumulate(map(len, one))] for one in words]
    return [_place(span, words, shared, offsets) for span in spans]


def _gaps(blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """Yield what lies between shared blocks, in words of the first text."""
    for (x, y, length), (next_x, next_y, _) in pairwise(blocks):
        if (x + length, y + length) != (next_x, next_y):
            yield x + length, next_x


def _joined(
    gaps: Iterable[tuple[int, int]], words: Sequence[str]
) -> list[tuple[int, int]]:
    """Join gaps that overlap, touch, or have only a blank between them, as first name
    and last name have.
    """
    spans: list[tuple[int, int]] = []
    for start, end in sorted(set(gaps)):
        between = "".join(words[spans[-1][1] : start]) if spans else ""
        is_near = bool(spans) and not between.strip() and "\n" not in between
        if is_near:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def _place(
    span: tuple[int, int],
    words: Sequence[Sequence[str]],
    shared: Sequence[Sequence[Block]],
    offsets: Sequence[Sequence[int]],
) -> Place:
    """Return what each text says in a span of the first one, with what it inserted at
    the edges of that.

    A span holds every gap that it touches whole, so that both edges lie in or beside a
    shared block.
    """
    start, end = span
    values = []
    starts = []
    for own, blocks, offset in zip(words, shared, offsets, strict=True):
        begin = next(
            y + start - x for x, y, length in blocks if x <= start <= x + length
        )
        stop = next(
            y + end - x for x, y, length in reversed(blocks) if x <= end <= x + length
        )
        values.append("".join(own[begin:stop]))
        starts.append(offset[begin])
    return Place(tuple(values), tuple(starts), agreed(values))
