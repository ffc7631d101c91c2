"""The tree of RFC 9162, section 2.1, over the ledger: how hashes become one root, and the nodes that prove it.

What is read of the stored tree is little: whole blocks come by their one hash, and of the leaves only the blocks that
a proof opens. docs/ledger.md names the nodes.
"""

from collections.abc import Iterable, Iterator, Sequence

from audit.models import BLOCK
from audit.verifier.countersign_verify import EMPTY, node
from common.postgres.rows import run

HASH = 32
# Leaves from the first to before the last: a subtree of RFC 9162.
Span = tuple[int, int]


class TreeIncomplete(Exception):
    """A leaf or a block is not where it should be."""


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over these, each a leaf or a whole subtree as large as the others; the last may be ragged."""
    level = list(hashes)
    while len(level) > 1:
        above = [node(level[index], level[index + 1]) for index in range(0, len(level) - 1, 2)]
        level = above + level[len(level) - len(level) % 2 :]
    return level[0] if level else EMPTY


def root_of(block_hashes: Sequence[bytes], rest_leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root over whole blocks and the leaves after them."""
    rest = [fold(rest_leaf_hashes)] if rest_leaf_hashes else []
    return fold([*block_hashes, *rest])


def read_edge(size: int) -> tuple[list[bytes], list[bytes]]:
    """Return the hashes of the whole blocks under the first so many leaves, and the leaves after them."""
    whole = size // BLOCK
    leaves = _read_leaves([whole] if size % BLOCK else [], size)
    if len(leaves) != size % BLOCK:
        raise TreeIncomplete(f"Of the {size % BLOCK} leaves after the last whole block {len(leaves)} are there.")
    return _read_blocks(whole), [leaves[position] for position in sorted(leaves)]


def stored_root(size: int) -> bytes:
    """Return the root over the first leaves as they are stored."""
    return root_of(*read_edge(size))


def proof_nodes(positions: Iterable[int], size: int) -> list[tuple[int, int, bytes]]:
    """Return the fewest nodes that lead from these leaves to the root over `size`, each as level, index and hash."""
    wanted = sorted(set(positions))
    if not wanted or wanted[0] < 0 or wanted[-1] >= size:
        raise ValueError("a proof needs leaves that are in the tree")
    spans = list(_uncovered(wanted, (0, size)))
    tree = _StoredTree(size, opened=spans)
    return [(*level_and_index(span), tree.hash_over(span)) for span in spans]


def consistency_path(first: int, second: int) -> list[bytes]:
    """Return the proof of RFC 9162, section 2.1.4.1, that the first so many leaves of the tree are the same."""
    if not 0 <= first <= second:
        raise ValueError("the first tree must not be larger than the second")
    if first in (0, second):
        return []
    spans = list(_between(first, (0, second), is_known=True))
    tree = _StoredTree(second, opened=spans)
    return [tree.hash_over(span) for span in spans]


def level_and_index(span: Span) -> tuple[int, int]:
    """Return level and index of a subtree; one that is not full counts at the level at which it would be."""
    start, end = span
    level = (end - start - 1).bit_length()
    return level, start >> level


def _middle(span: Span) -> int:
    """Return where the right side of a subtree begins."""
    start, end = span
    return start + (1 << ((end - start - 1).bit_length() - 1))


def _uncovered(positions: Sequence[int], span: Span) -> Iterator[Span]:
    """Yield the largest subtrees that hold none of these leaves, from the left."""
    start, end = span
    if not positions:
        yield span
    elif end - start > 1:
        middle = _middle(span)
        yield from _uncovered([position for position in positions if position < middle], (start, middle))
        yield from _uncovered([position for position in positions if position >= middle], (middle, end))


def _between(first: int, span: Span, *, is_known: bool) -> Iterator[Span]:
    """Yield what SUBPROOF of RFC 9162 names. `is_known`: whoever checks has the hash over what `first` cuts off."""
    start, end = span
    if first == end:
        if not is_known:
            yield span
        return
    middle = _middle(span)
    if first <= middle:
        yield from _between(first, (start, middle), is_known=is_known)
        yield (middle, end)
    else:
        yield from _between(first, (middle, end), is_known=False)
        yield (start, middle)


class _StoredTree:
    """Hashes over parts of the tree as it was at one size, read for the subtrees that are asked for."""

    def __init__(self, size: int, *, opened: Sequence[Span]) -> None:
        self._size = size
        self._whole = size // BLOCK
        self._blocks = _read_blocks(self._whole)
        # The ragged rest, and every block of which a part is wanted.
        within = {start // BLOCK for start, end in opened if end - start < BLOCK}
        ragged = {self._whole} if size % BLOCK else set()
        self._leaves = _read_leaves(sorted(within | ragged), size)

    def hash_over(self, span: Span) -> bytes:
        """Return the hash over one subtree."""
        start, end = span
        if end - start < BLOCK:
            return fold(self._leaves_of(start, end))
        blocks = self._blocks[start // BLOCK : end // BLOCK]
        return root_of(blocks, self._leaves_of(end - end % BLOCK, end))

    def _leaves_of(self, start: int, end: int) -> list[bytes]:
        try:
            return [self._leaves[position] for position in range(start, end)]
        except KeyError as missing:
            raise TreeIncomplete(f"Leaf {missing} of {self._size} is not there.") from None


def _read_blocks(number: int) -> list[bytes]:
    """Return the hashes of the first so many blocks; as one value, because a row each would cost more than its hash."""
    found, joined = run(
        "SELECT count(*), coalesce(string_agg(hash, ''::bytea ORDER BY number), ''::bytea)"
        "  FROM audit_block WHERE number >= 0 AND number < %s",
        [number],
    ).row()
    if found != number or len(joined) != number * HASH:
        raise TreeIncomplete(f"Of {number} blocks {found} are there.")
    view = bytes(joined)
    return [view[start : start + HASH] for start in range(0, len(view), HASH)]


def _read_leaves(blocks: Sequence[int], size: int) -> dict[int, bytes]:
    """Return the leaves of these blocks by position."""
    if not blocks:
        return {}
    found = run(
        "SELECT leaf.position, leaf.hash FROM unnest(%s::bigint[]) AS opened (number)"
        "  JOIN audit_leaf leaf ON leaf.position >= opened.number * %s"
        "   AND leaf.position < least((opened.number + 1) * %s, %s)",
        [list(blocks), BLOCK, BLOCK, size],
    )
    return {position: bytes(digest) for position, digest in found.rows}
