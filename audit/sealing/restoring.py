"""Continues the ledger after a restore: a `restored` seal closes what came from the backup and begins an epoch.

Transaction ids of another cluster, or from before a restore, say nothing about the order of new ones.
"""

import time
from collections.abc import Iterable
from typing import Any

from audit.models import BLOCK, Entry, Seal
from audit.recording import ActorLike, leaf_hash, record
from audit.sealing.growth import AT_ONCE, Growth, not_sealed_up_to
from audit.sealing.preconditions import SealingRefused, TreeBase, check_base, read_database_state
from audit.sealing.tree import fold
from common.postgres.rows import run

OTHER_CLUSTER = "The database came from a backup: the cluster it is in is another one."
# Longer ledgers are compared for longer than a task may run: about a minute for a million entries.
LONGEST_IN_TASK = 1_500_000
# Seconds to wait for transactions that were open when the restore was noticed.
PATIENCE, LOOK_EVERY = 10.0, 0.05


def is_other_cluster(last: Seal, cluster: str) -> bool:
    """Whether the database is in another cluster than when it was last sealed, as far as that may be read."""
    return bool(last.cluster and cluster and last.cluster != cluster)


def why_not_automatic(last: Seal, cluster: str) -> str:
    """Return why the ledger is not continued automatically: a long one needs the command, which has no time limit."""
    if not is_other_cluster(last, cluster) or last.size <= LONGEST_IN_TASK:
        return ""
    return (
        f"{OTHER_CLUSTER} With {last.size:,} sealed entries the comparison takes longer than a task may run; do it "
        'with ./run manage audit_restored --because "...".'
    )


def begin_epoch(last: Seal, *, because: str, actor: ActorLike, key: bytes | None = None) -> int:
    """Seal every entry that is there and in no seal, and begin the next epoch; return how many there were.

    What was sealed is compared with the entries first, all of it, whose time is the ledger's length.
    Must be called by whoever holds the sealers' lock and has written nothing yet.
    """
    base = check_base(last)
    _check_entries(base)
    begin, last_id = _close_epoch()
    growth = Growth(base)
    growth.take(not_sealed_up_to(last_id, at_once=AT_ONCE))
    fields = {"epoch": last.epoch + 1, "after_id": last_id, "note": because} | ({"key": key} if key else {})
    seal = growth.seal(read_database_state(), kind=Seal.Kind.RESTORED, horizon=begin, **fields)
    details = {"seal": str(seal.number), "epoch": str(seal.epoch), "entries": str(growth.added), "reason": because}
    record("ledger.restored", actor=actor, details=details)
    return growth.added


def _close_epoch() -> tuple[int, int]:
    """Return where the next epoch begins: a transaction id and an entry's number, all entries up to which are there.

    An entry's number and its transaction's id are taken together (audit.recording), the id first. So whoever took a
    number up to `last_id` has an id below `everybody`, and is waited for; and whoever takes a later number was still
    open, or not there yet, when `begin` was read.
    """
    begin = int(run("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").row()[0])
    (last_id,) = run(
        "SELECT greatest((SELECT last_value FROM audit_entry_id_seq), (SELECT coalesce(max(id), 0) FROM audit_entry))"
    ).row()
    everybody = run("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").row()
    ends = time.monotonic() + PATIENCE
    while not run("SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::xid8", everybody).row()[0]:
        if time.monotonic() > ends:
            raise SealingRefused("The restore waits for a transaction that is still open.", is_breach=False)
        time.sleep(LOOK_EVERY)
    return begin, last_id


# --- Comparing what was sealed with the entries of the backup -------------------------------------------------------

# Blocks whose entries are held in memory at once.
_AT_ONCE = 4


def _check_entries(base: TreeBase) -> None:
    """Raise SealingRefused for the first entry that is not what was sealed. The root over `base` was checked before."""
    for start in range(0, base.size, BLOCK * _AT_ONCE):
        end = min(start + BLOCK * _AT_ONCE, base.size)
        hashes = _hashes(start, end)
        for first in range(start, end - BLOCK + 1, BLOCK):
            block = hashes[first - start : first - start + BLOCK]
            if fold(block) != base.blocks[first // BLOCK]:
                raise SealingRefused(f"The leaves from {first} to {first + BLOCK - 1} are not those of their block.")


def _hashes(start: int, end: int) -> list[bytes]:
    """Return the hashes of these leaves, each computed again from its entry."""
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
