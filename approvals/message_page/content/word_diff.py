"""Compares two texts word by word: what was removed, added and unchanged. Pure, and
bounded for hostile texts.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rendering.invisibles import NAMES, Tally, pieces

SAME = "same"
GONE = "gone"
NEW = "new"
SKIPPED = "skipped"
# Steps of the comparison for one message, some tens of milliseconds; two texts without
# anything in common cost most.
MAX_EFFORT = 200_000
# How much unchanged text is shown around a change, and after how much changed text the
# rest is cut.
CONTEXT = 160
MAX_SHOWN = 12_000
MAX_CHANGES = 300
# Shorter unchanged text between two changes is folded into them: the sentence is easier
# to read.
CRUMB = 16
# Longer changes than these are no mere disguise.
MAX_DISGUISE = 400
_WIDE = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
# A word with the points, commas and signs inside of it, so that an amount or an address
# stays whole.
_WORD = rf"[^\W{_WIDE}](?:[^\s/?&=<>\"{_WIDE}]{{0,62}}[^\W{_WIDE}])?"
_TOKEN = re.compile(rf"\r\n|[\r\n]|[^\S\r\n]+|{_WORD}|\S")
_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_SPACES = {"\n": "line end", "\r": "carriage return", "\t": "tab", " ": "blank"}


@dataclass(frozen=True)
class Piece:
    """A stretch of text of one `kind`; `parts` are its words, and in between marks for
    what cannot be seen.
    """

    kind: str
    text: str
    parts: tuple[tuple[bool, str], ...] = ()


@dataclass
class Effort:
    """The remaining steps of the comparison; shared by all texts of one message."""

    left: int = MAX_EFFORT


@dataclass
class Step:
    """Unchanged text, then what was removed and what was added in its place."""

    same: str = ""
    gone: str = ""
    new: str = ""


def words_in(text: str) -> list[str]:
    """Return a text as the words, blanks and signs that are compared; together they are
    the text.
    """
    return _TOKEN.findall(text)


def compare(before: str, after: str, effort: Effort) -> tuple[list[Piece], bool]:
    """Return all of both texts in pieces, and whether they could be compared word by
    word everywhere.

    Same and gone pieces together are the text before, same and new ones the text after.
    """
    by_line, is_fine = _steps(_LINE.findall(before), _LINE.findall(after), effort)
    steps = []
    for step in by_line:
        if not step.gone or not step.new:
            steps.append(step)
            continue
        by_word, is_known = _steps(words_in(step.gone), words_in(step.new), effort)
        is_fine = is_fine and is_known
        steps += [Step(step.same), *by_word]
    found = [
        Piece(kind, text)
        for step in joined(steps, _is_crumb)
        for kind, text in ((SAME, step.same), (GONE, step.gone), (NEW, step.new))
        if text
    ]
    return found, is_fine


def shown_pieces(found: list[Piece], tally: Tally) -> tuple[tuple[Piece, ...], int]:
    """Return the pieces as a page shows them, and how many changed characters were left
    out at the end.

    Long unchanged stretches shrink to their edges, and what cannot be seen is marked by
    name.
    """
    pieces: list[Piece] = []
    remaining = {GONE: MAX_SHOWN, NEW: MAX_SHOWN}
    changes = MAX_CHANGES
    left_out = 0
    for index, piece in enumerate(found):
        if piece.kind == SAME:
            if changes and any(remaining.values()):
                pieces.extend(
                    _shrunk(
                        piece.text,
                        is_first=index == 0,
                        is_last=index == len(found) - 1,
                        tally=tally,
                    )
                )
            continue
        text = piece.text[: remaining[piece.kind]] if changes else ""
        left_out += len(piece.text) - len(text)
        remaining[piece.kind] -= len(text)
        changes = max(0, changes - 1)
        if text:
            pieces.append(
                Piece(piece.kind, text, tuple(marked(text, tally, is_changed=True)))
            )
    return tuple(pieces), left_out


def disguises(found: Sequence[Piece]) -> list[str]:
    """Return what changed without looking changed: letters of another script, or
    written in another way.
    """
    notes: list[str] = []
    for gone, added in pairwise(found):
        if (gone.kind, added.kind) != (GONE, NEW):
            continue
        if max(len(gone.text), len(added.text)) > MAX_DISGUISE:
            continue
        old = unicodedata.normalize("NFC", gone.text)
        new = unicodedata.normalize("NFC", added.text)
        if old == new:
            notes.append("Characters were replaced by others that look the same.")
        elif len(old) == len(new):
            notes += [
                f"“{b}” is now {_called(b)}, and was {_called(a)}."
                for a, b in zip(old, new, strict=True)
                if a != b and a.isascii() != b.isascii() and a.isalnum() and b.isalnum()
            ]
    return list(dict.fromkeys(notes))[:5]


def _called(character: str) -> str:
    return f"{unicodedata.name(character, 'a character without a name').lower()} (U+{ord(character):04X})"


def _steps(
    before: Sequence[str], after: Sequence[str], effort: Effort
) -> tuple[list[Step], bool]:
    """Return the steps from one text to the other, and whether they could be compared.

    Where that would cost too much, only what both begin and end with is known.
    """
    blocks = common_blocks(before, after, effort)
    if blocks is not None:
        return steps_of(before, after, blocks), True
    start, end = _trimmed(before, after)
    ends = [(0, 0, start), (len(before) - end, len(after) - end, end)]
    return steps_of(before, after, ends), False


def _trimmed(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    shorter = min(len(before), len(after))
    start = end = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, end


def common_blocks(
    before: Sequence[str], after: Sequence[str], effort: Effort
) -> list[tuple[int, int, int]] | None:
    """Return the blocks that both have, by the fewest changes (Myers' greedy walk);
    None when that costs too much.
    """
    start, end = _trimmed(before, after)
    inner_before = before[start : len(before) - end]
    inner_after = after[start : len(after) - end]
    path = _walk(inner_before, inner_after, effort)
    if path is None:
        return None
    inner = [(start + x, start + y, length) for x, y, length in path]
    return [(0, 0, start), *inner, (len(before) - end, len(after) - end, end)]


def _walk(
    before: Sequence[str], after: Sequence[str], effort: Effort
) -> list[tuple[int, int, int]] | None:
    width = len(before)
    height = len(after)
    if not width or not height:
        return []
    reach = {1: 0}
    trail: list[dict[int, int]] = []
    for distance in range(width + height + 1):
        trail.append(dict(reach))
        effort.left -= 2 * distance + 1
        for k in range(-distance, distance + 1, 2):
            down = k == -distance or (k != distance and reach[k - 1] < reach[k + 1])
            x = reach[k + 1] if down else reach[k - 1] + 1
            began = x
            while x < width and x - k < height and before[x] == after[x - k]:
                x += 1
            effort.left -= x - began
            reach[k] = x
            if x >= width and x - k >= height:
                return _way_back(trail, width, height)
        if effort.left < 0:
            return None
    return None


def _way_back(
    trail: list[dict[int, int]], x: int, y: int
) -> list[tuple[int, int, int]]:
    blocks = []
    for distance in range(len(trail) - 1, -1, -1):
        reach = trail[distance]
        k = x - y
        down = k == -distance or (k != distance and reach[k - 1] < reach[k + 1])
        came_from = k + 1 if down else k - 1
        x_before = reach[came_from] if distance else 0
        y_before = x_before - came_from if distance else 0
        x_turn = x_before + (0 if down else 1) if distance else 0
        if x > x_turn:
            blocks.append((x_turn, x_turn - k, x - x_turn))
        x = x_before
        y = y_before
    return blocks[::-1]


def steps_of(
    before: Sequence[str], after: Sequence[str], blocks: Sequence[tuple[int, int, int]]
) -> list[Step]:
    """Return what stayed, as it is after, and then what changed, from the blocks that
    both have.
    """
    steps = []
    at_before = at_after = 0
    same = ""
    for x, y, length in [*blocks, (len(before), len(after), 0)]:
        gone = "".join(before[at_before:x])
        new = "".join(after[at_after:y])
        if gone or new:
            steps.append(Step(same, gone, new))
            same = ""
        same += "".join(after[y : y + length])
        at_before = x + length
        at_after = y + length
    return [*steps, Step(same)] if same else steps


def joined(steps: Iterable[Step], is_crumb: Callable[[Step, Step], bool]) -> list[Step]:
    """Join changes that only a little unchanged text separates: `is_crumb` says whether
    of one and the next.
    """
    found: list[Step] = []
    for step in steps:
        last = found[-1] if found else None
        if last is not None and not (last.gone or last.new):
            last.same += step.same
            last.gone = step.gone
            last.new = step.new
        elif last is not None and (step.gone or step.new) and is_crumb(last, step):
            last.gone += step.same + step.gone
            last.new += step.same + step.new
        else:
            found.append(step)
    return found


def _is_crumb(last: Step, step: Step) -> bool:
    if not step.same.strip():
        return "\n" not in step.same
    least = min(max(len(one.gone), len(one.new)) for one in (last, step))
    return len(step.same) <= min(CRUMB, least) and "\n" not in step.same


def _shrunk(
    text: str, *, is_first: bool, is_last: bool, tally: Tally
) -> Iterator[Piece]:
    head = "" if is_first else text[:CONTEXT]
    tail = "" if is_last else text[-CONTEXT:]
    left_out = len(text) - len(head) - len(tail)
    if left_out <= CONTEXT // 2:
        yield Piece(SAME, text, tuple(marked(text, tally)))
        return
    if head:
        yield Piece(SAME, head, tuple(marked(head, tally)))
    lines = text[len(head) : len(text) - len(tail)].count("\n")
    yield Piece(
        SKIPPED, f"{lines:,} lines" if lines > 1 else f"{left_out:,} characters"
    )
    if tail:
        yield Piece(SAME, tail, tuple(marked(tail, tally)))


def marked(
    text: str, tally: Tally, *, is_changed: bool = False
) -> Iterator[tuple[bool, str]]:
    """Yield the text with marks; in changed text also blanks are named where they are
    all that changed, or odd.
    """
    if text.startswith("\ufeff"):
        # Alone at the start of a whole text it says nothing; in the middle of one,
        # where pieces begin, it does.
        yield True, NAMES[0xFEFF]
        text = text[1:]
    plain = " \n\t" if text.strip() else ""
    for is_mark, part in pieces(text, tally):
        if is_mark or not is_changed:
            yield is_mark, part
            continue
        at = 0
        for found in re.finditer(r"\s", part):
            blank = found.group()
            if blank in plain:
                continue
            yield False, part[at : found.start()]
            yield True, _SPACES.get(blank) or unicodedata.name(blank, "blank").lower()
            at = found.end()
        yield False, part[at:]
