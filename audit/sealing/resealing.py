"""Compares every sealed entry with its leaf, before a ledger that came from a backup is taken up again."""

from collections.abc import Iterable
from typing import Any

from audit.models import BLOCK, Entry
from audit.recording import leaf_hash
from audit.sealing.base import Base
from audit.sealing.refusals import SealingRefused
from audit.sealing.tree import fold

# Blocks whose entries are held in memory at once.
_AT_ONCE = 4


def check_entries(base: Base) -> None:
    """Raise SealingRefused for the first entry that is not what was sealed. The root over `base` was checked before."""
    for start in range(0, base.size, BLOCK * _AT_ONCE):
        end = min(start + BLOCK * _AT_ONCE, base.size)
        hashes = _hashes(start, end)
        for place in range(start, end - BLOCK + 1, BLOCK):
            block = hashes[place - start : place - start + BLOCK]
            if fold(block) != base.blocks[place // BLOCK]:
                raise SealingRefused(f"The leaves from {place} to {place + BLOCK - 1} are not those of their block.")


def _hashes(start: int, end: int) -> list[bytes]:
    """Return the hashes of these leaves, each made anew from its entry."""
    found: Iterable[Any] = Entry.objects.raw(
        "SELECT entry.*, leaf.position, leaf.entry AS sealed, leaf.hash AS sealed_hash FROM audit_leaf leaf"
        "  LEFT JOIN audit_entry entry ON entry.id = leaf.entry"
        " WHERE leaf.position >= %s AND leaf.position < %s ORDER BY leaf.position",
        [start, end],
    )
    hashes = []
    for entry in found:
        sealed = bytes(entry.sealed_hash)
        if entry.pk is None:
            raise SealingRefused(f"Entry {entry.sealed} was sealed, and is not there.")
        if leaf_hash(entry) != sealed.hex():
            raise SealingRefused(f"Entry {entry.pk} is not the one that was sealed.")
        hashes.append(sealed)
    if len(hashes) != end - start:
        raise SealingRefused(f"Of the leaves from {start} to {end - 1} only {len(hashes)} are there.")
    return hashes
