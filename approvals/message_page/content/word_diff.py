"""Compares two texts word by word, and returns what was removed, added and unchanged.

No database. What is compared has a limit, because texts may be hostile.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise

from rapidfuzz.distance import LCSseq

from rendering.invisibles import NAMES, Tally, pieces

# The kinds of pieces; SKIPPED stands for unchanged text that is not shown.
SAME = "same"
GONE = "gone"
NEW = "new"
SKIPPED = "skipped"
# The most pairs of words for the comparison of one message: some tens of milliseconds,
# and 12 MB.
MAX_EFFORT = 100_000_000
# Characters of unchanged text that are shown before and after a change.
CONTEXT = 160
# Characters of removed text, and of added text, that are shown; and the most changes.
MAX_SHOWN = 12_000
MAX_CHANGES = 300
# Unchanged text of up to this many characters between two changes is shown as part of
# them, because that is easier to read.
CRUMB = 16
# Changes with more characters are not searched for letters that look alike.
MAX_DISGUISE = 400
_SPACES = {"\n": "line end", "\r": "carriage return", "\t": "tab", " ": "blank"}


# A run of words that two texts share: its index in each text, and its length in words.
Block = tuple[int, int, int]


@dataclass(frozen=True)
class Piece:
    """A stretch of text of one `kind`. `parts` are pairs: False with ordinary text,
    True with the name of a character that cannot be seen.
    """

    kind: str
    text: str
    parts: tuple[tuple[bool, str], ...] = ()


@dataclass
class Effort:
    """How many pairs of words may still be compared; shared by all texts of one
    message.
    """

    left: int = MAX_EFFORT


@dataclass
class Step:
    """Unchanged text, then a change: what was removed, and what was added there."""

    same: str = ""
    gone: str = ""
    new: str = ""


def words_in(text: str) -> list[str]:
    """Split a text into the words, blanks and signs that are compared. Joined, they are
    the text again. An amount or an address is one word, with the signs inside it.
    """
    words = []
    for kind, run in groupby(text, _kind):
        part = "".join(run)
        if kind == "blanks":
            words.append(part)
        elif kind == "line_ends":
            words += part.splitlines(keepends=True)
        elif kind == "letters":
            # The signs at both ends are words of their own.
            signs = "".join(one for one in set(part) if not one.isalnum())
            word = part.strip(signs)
            if word:
                before, _, after = part.partition(word)
                words += [*before, word, *after]
            else:
                words += part
        else:
            words += part
    return words


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """Return what a character is for `words_in`."""
    if character in "\r\n":
        return "line_ends"
    if character.isspace():
        return "blanks"
    # Of scripts that are written without blanks, each character counts as a word.
    is_wide = unicodedata.east_asian_width(character) in "WF"
    return "words" if is_wide or character in '/?&=<>"' else "letters"


def compare(before: str, after: str, effort: Effort) -> tuple[list[Piece], bool]:
    """Return both texts as one list of pieces, and whether all of it could be compared
    word by word.

    Pieces of kind SAME and GONE make up the text before, SAME and NEW the text after.
    """
    old = before.splitlines(keepends=True)
    new = after.splitlines(keepends=True)
    blocks, is_fine = common_blocks(old, new, effort)
    steps = []
    for step in steps_of(old, new, blocks):
        if not step.gone or not step.new:
            steps.append(step)
            continue
        old = words_in(step.gone)
        new = words_in(step.new)
        blocks, is_known = common_blocks(old, new, effort)
        is_fine = is_fine and is_known
        steps += [Step(step.same), *steps_of(old, new, blocks)]
    all_pieces = [
        Piece(kind, text)
        for step in joined(steps, _is_crumb)
        for kind, text in ((SAME, step.same), (GONE, step.gone), (NEW, step.new))
        if text
    ]
    return all_pieces, is_fine


def shown_pieces(found: list[Piece], tally: Tally) -> tuple[tuple[Piece, ...], int]:
    """Return the pieces as a page shows them, and how many changed characters were left
    out.

    Long unchanged stretches are cut in the middle, and characters that cannot be seen
    are marked with their names.
    """
    pieces = []
    remaining = {GONE: MAX_SHOWN, NEW: MAX_SHOWN}
    changes = MAX_CHANGES
    left_out = 0
    for index, piece in enumerate(found):
        text = piece.text
        if piece.kind == SAME:
            if not changes or not any(remaining.values()):
                continue
            head = "" if index == 0 else text[:CONTEXT]
            tail = "" if index == len(found) - 1 else text[-CONTEXT:]
            folded = len(text) - len(head) - len(tail)
            parts = [(SAME, text)]
            if folded > CONTEXT // 2:
                lines = text[len(head) : len(text) - len(tail)].count("\n")
                words = f"{lines:,} lines" if lines > 1 else f"{folded:,} characters"
                parts = [(SAME, head), (SKIPPED, words), (SAME, tail)]
            for kind, part in parts:
                if part:
                    marks = () if kind == SKIPPED else tuple(marked(part, tally))
                    pieces.append(Piece(kind, part, marks))
            continue
        text = text[: remaining[piece.kind]] if changes else ""
        left_out += len(piece.text) - len(text)
        remaining[piece.kind] -= len(text)
        changes = max(0, changes - 1)
        if text:
            pieces.append(
                Piece(piece.kind, text, tuple(marked(text, tally, is_changed=True)))
            )
    return tuple(pieces), left_out


def disguises(found: Sequence[Piece]) -> list[str]:
    """Return up to five sentences about changes that look like none: letters replaced
    by similar ones of another script, or by another encoding of the same letter.
    """
    notes = []
    for gone, added in pairwise(found):
        if (gone.kind, added.kind) != (GONE, NEW):
            continue
        if max(len(gone.text), len(added.text)) > MAX_DISGUISE:
            continue
        before = unicodedata.normalize("NFC", gone.text)
        after = unicodedata.normalize("NFC", added.text)
        if before == after:
            notes.append("Characters were replaced by others that look the same.")
        elif len(before) == len(after):
            notes += [
                f"“{now}” is now {_called(now)}, and was {_called(was)}."
                for was, now in zip(before, after, strict=True)
                if was != now
                and was.isascii() != now.isascii()
                and was.isalnum()
                and now.isalnum()
            ]
    return list(dict.fromkeys(notes))[:5]


def _called(character: str) -> str:
    return f"{unicodedata.name(character, 'a character without a name').lower()} (U+{ord(character):04X})"


def common_blocks(
    before: Sequence[str], after: Sequence[str], effort: Effort
) -> tuple[list[Block], bool]:
    """Return the blocks that both texts share, such that the rest is the fewest
    changes, and whether that could be computed. If there are too many words, the only
    blocks are the common beginning and the common end.
    """
    shorter = min(len(before), len(after))
    start = end = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    inner_before = before[start : len(before) - end]
    inner_after = after[start : len(after) - end]
    last = (len(before) - end, len(after) - end, end)
    effort.left -= len(inner_before) * len(inner_after)
    if effort.left < 0:
        return [(0, 0, start), last], False
    opcodes = LCSseq.opcodes(inner_before, inner_after)
    inner = [
        (start + one.a, start + one.b, one.size) for one in opcodes.as_matching_blocks()
    ]
    return [(0, 0, start), *inner, last], True


def steps_of(
    before: Sequence[str], after: Sequence[str], blocks: Sequence[Block]
) -> list[Step]:
    """Return the steps from one text to the other, from the blocks that both share.
    Unchanged text is taken from `after`.
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
    """Join neighbouring changes between which there is only a crumb of unchanged text,
    as `is_crumb` says for two steps.
    """
    joined_steps: list[Step] = []
    for step in steps:
        last = joined_steps[-1] if joined_steps else None
        if last is not None and not (last.gone or last.new):
            last.same += step.same
            last.gone = step.gone
            last.new = step.new
        elif last is not None and (step.gone or step.new) and is_crumb(last, step):
            last.gone += step.same + step.gone
            last.new += step.same + step.new
        else:
            joined_steps.append(step)
    return joined_steps


def _is_crumb(last: Step, step: Step) -> bool:
    if not step.same.strip():
        return "\n" not in step.same
    smaller_change = min(max(len(one.gone), len(one.new)) for one in (last, step))
    return len(step.same) <= min(CRUMB, smaller_change) and "\n" not in step.same


def marked(
    text: str, tally: Tally, *, is_changed: bool = False
) -> Iterator[tuple[bool, str]]:
    """Yield pairs: False with ordinary text, True with the name of a character that
    cannot be seen. In changed text, unusual blanks are named too, and all blanks if the
    text has nothing else.
    """
    if text.startswith("\ufeff"):
        # `pieces` leaves out a U+FEFF at the start of a text. But this may be the
        # middle of a message, where it can hide something.
        yield True, NAMES[0xFEFF]
        text = text[1:]
    plain = " \n\t" if text.strip() else ""
    for is_mark, part in pieces(text, tally):
        if is_mark or not is_changed:
            yield is_mark, part
            continue
        for is_blank, run in groupby(
            part, lambda one: one.isspace() and one not in plain
        ):
            if not is_blank:
                yield False, "".join(run)
                continue
            for blank in run:
                name = _SPACES.get(blank, "") or unicodedata.name(blank, "blank")
                yield True, name.lower()
