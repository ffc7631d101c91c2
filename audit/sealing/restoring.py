"""Continues the ledger after a restore: a `restored` seal closes what came from the
backup and begins an epoch.

Transaction ids of another cluster, or from before a restore, say nothing about the
order of new ones.
"""

import hashlib
import time
from collections.abc import Iterator
from itertools import islice

from django.db.models import Max

from audit.models import AT_ONCE, Entry, Seal, SealedEntry
from audit.recording import entry_hash, last_number, record
from audit.sealing.batch import Batch
from audit.sealing.preconditions import SealingRefused, check_end
from common.actors import Actor
from common.postgres import clock
from common.postgres.server import cluster_id, current_snapshot

OTHER_CLUSTER = "The database came from a backup: the cluster it is in is another one."
# Longer ledgers are compared for longer than a task may run: about a minute for a
# million entries.
LONGEST_IN_TASK = 1_500_000
# Seconds to wait for transactions that were open when the restore was noticed.
PATIENCE = 10.0
LOOK_EVERY = 0.05


def is_other_cluster(last: Seal, cluster: str) -> bool:
    """Whether the database is in another cluster than when it was last sealed, as far
    as that may be read.
    """
    return bool(last.cluster and cluster and last.cluster != cluster)


def why_not_automatic(last: Seal, cluster: str) -> str:
    """Return why the ledger is not continued automatically: a long one needs the
    command, which has no time limit.
    """
    if not is_other_cluster(last, cluster) or last.size <= LONGEST_IN_TASK:
        return ""
    return (
        f"{OTHER_CLUSTER} With {last.size:,} sealed entries the comparison takes longer than a task may run; do it "
        'with ./run manage audit_restored --because "...".'
    )


def begin_epoch(last: Seal, *, because: str, actor: Actor, key: str = "") -> int:
    """Seal every entry that is there and in no seal, and begin the next epoch; return
    how many there were.

    What was sealed is compared with the entries first, all of it, whose time is the
    ledger's length. Must be called by whoever holds the sealers' lock and has written
    nothing yet.
    """
    check_end(last)
    _check_entries(last)
    begin, last_id = _close_epoch()
    batch = Batch(last)
    unsealed = Entry.objects.unsealed().filter(pk__lte=last_id).iterator(AT_ONCE)
    while entries := list(islice(unsealed, AT_ONCE)):
        batch.take(entries)
    # The new epoch's entries have greater numbers, and transactions from `begin` on.
    seal = batch.seal(
        at=clock(),
        cluster=cluster_id(),
        key=key,
        kind=Seal.Kind.RESTORED,
        epoch=last.epoch + 1,
        after_id=last_id,
        end_xid=begin,
        end_id=last_id,
        note=because,
    )
    details = {
        "seal": str(seal.number),
        "epoch": str(seal.epoch),
        "entries": str(seal.count),
        "reason": because,
    }
    record("ledger.restored", actor=actor, details=details)
    return seal.count


def _close_epoch() -> tuple[int, int]:
    """Return where the next epoch begins: a transaction id and an entry's number, all
    entries up to which are there.

    An entry's number and its transaction's id are taken together (audit.recording), the
    id first. So whoever took a number up to `last_id` has an id below `everybody`, and
    is waited for; and whoever takes a later number was still open, or not there yet,
    when `begin` was read.
    """
    begin = current_snapshot().xmin
    last_id = max(last_number(), Entry.objects.aggregate(last=Max("pk"))["last"] or 0)
    everybody = current_snapshot().xmax
    ends = time.monotonic() + PATIENCE
    while current_snapshot().xmin < everybody:
        if time.monotonic() > ends:
            raise SealingRefused(
                "The restore waits for a transaction that is still open.",
                is_breach=False,
            )
        time.sleep(LOOK_EVERY)
    return begin, last_id


# --- Comparing what was sealed with the entries of the backup -------------------------


def _check_entries(last: Seal) -> None:
    """Raise SealingRefused for the first entry that is not what was sealed, or the
    first seal that is out of place.
    """
    sealed = _sealed_hashes()
    previous = ""
    seals = Seal.objects.filter(number__lte=last.number).order_by("number")
    for seal in seals.iterator():
        if seal.previous != previous:
            raise SealingRefused(
                f"Seal {seal.number} does not follow the seal before it."
            )
        previous = seal.hash
        digest = hashlib.sha256()
        for one in islice(sealed, seal.count):
            digest.update(one)
        if digest.hexdigest() != seal.entries:
            raise SealingRefused(
                f"The entries under seal {seal.number} are not the ones that it was made over."
            )


def _sealed_hashes() -> Iterator[bytes]:
    """Yield the hashes of the sealed entries in order, each computed again from its
    entry.
    """
    for position, (sealed, entry) in enumerate(
        SealedEntry.objects.with_entries(Entry.objects.all())
    ):
        sealed_hash = bytes(sealed.hash)
        if sealed.position != position:
            raise SealingRefused(
                f"No entry is listed as sealed at position {position}."
            )
        if entry is None:
            raise SealingRefused(f"Entry {sealed.entry} was sealed, and is not there.")
        if entry_hash(entry) != sealed_hash.hex():
            raise SealingRefused(f"Entry {entry.pk} is not the one that was sealed.")
        yield sealed_hash
