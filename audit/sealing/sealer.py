"""Seals entries that no open transaction can precede any more: one seal per
transaction, one sealer at a time.

It writes nothing before it has read the horizon, so that it never waits for itself.
Whoever kills it leaves a whole seal or none; the keys of seals and sealed entries keep
two from forking the chain even without the lock. Before an entry is sealed, it is
checked that the desk wrote it and that its time fits.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Max

from audit.models import AT_ONCE, Entry, Seal, SealedEntry
from audit.recording import entry_hash, is_authentic, last_number, record
from audit.sealing import anchors, signing
from audit.sealing.signing import (
    SEALER,
    SealingRefused,
    check_end,
    latest_seal,
    public_key,
    record_refusal,
    sign,
)
from audit.verifier.countersign_verify import Ranges, fingerprint_of, window
from common.actors import Actor
from common.postgres import clock, cluster_id, current_snapshot, try_lock

log = logging.getLogger(__name__)

# Seconds after which the rest is left to the next run: a task has a limit of its own.
LONGEST = 30.0
# Held to the end of the transaction, never longer: a pooler may hand the session to
# somebody else.
LOCK = "audit.sealing"


def seal_all() -> int:
    """Return how many entries were sealed. Does nothing while another seals, or where
    there is no key.
    """
    sealed = 0
    ends = time.monotonic() + LONGEST
    # Later entries wait for the next run; otherwise a busy desk would keep this loop
    # running.
    horizon = current_snapshot().xmin
    while signing.public_keys() and time.monotonic() < ends:
        try:
            with transaction.atomic():
                made = _seal_next(horizon) if try_lock(LOCK) else None
        except SealingRefused as refused:
            log.error("not sealed", extra={"reason": str(refused)})
            if refused.is_breach:
                record_refusal(str(refused), latest_seal())
            break
        if made is None:
            break
        sealed += made
    return sealed


def _seal_next(horizon: int) -> int | None:
    """Make one seal, of transactions below the horizon; return over how many entries,
    None where there are none.
    """
    at = clock()
    cluster = cluster_id()
    last = latest_seal()
    anchors.check_not_rolled_back(last)
    if last is not None:
        signer = last.expected_key
        if signer not in signing.public_keys():
            raise SealingRefused(signing.missing_key(signer), is_breach=False)
        if why := why_not_automatic(last, cluster):
            raise SealingRefused(why, is_breach=False)
        if is_other_cluster(last, cluster):
            return begin_epoch(last, because=OTHER_CLUSTER, actor=SEALER)
        new = signing.public_key()
        if signer != new:
            # Seal, with the old key, which key comes next.
            check_end(last)
            seal = Batch(last).seal(
                at=at, cluster=cluster, kind=Seal.Kind.KEY, next_key=new
            )
            details = {
                "seal": str(seal.number),
                "before": fingerprint_of(signer),
                "after": fingerprint_of(new),
            }
            record("ledger.key_changed", SEALER, details=details)
            return 0
    entries = list(Entry.objects.after_seal(last).filter(xid__lt=horizon)[:AT_MOST])
    if not entries:
        return None
    check_end(last)
    batch = Batch(last)
    batch.take(entries, at=at)
    seal = batch.seal(at=at, cluster=cluster)
    if batch.misdated:
        numbers = str(Ranges.over(batch.misdated))
        log.error(
            "entries out of their time", extra={"seal": seal.number, "entries": numbers}
        )
        details = {"seal": str(seal.number), "numbers": numbers}
        record("ledger.misdated", SEALER, details=details)
    return seal.count


# --- The entries of the next seal -----------------------------------------------------


# The most entries of one seal.
AT_MOST = 1000


class Batch:
    """The entries that the next seal takes."""

    def __init__(self, last: Seal | None) -> None:
        self.last = last
        self.number = last.number + 1 if last else 1
        self.size = last.size if last else 0
        self.count = 0
        self.misdated: list[int] = []
        self._digest = hashlib.sha256()
        self._end = (last.end_xid, last.end_id) if last else (0, 0)

    def take(self, entries: Sequence[Entry], *, at: datetime | None = None) -> None:
        """Add these entries, and note which were not written between the last seal and
        `at`.

        Raises SealingRefused for one that is not as the desk wrote it, or that repeats
        another one.
        """
        if at is not None:
            begin, end = window(
                self.last.at.isoformat() if self.last else "", at.isoformat()
            )
            self.misdated += [
                entry.pk
                for entry in entries
                if not begin <= entry.at.isoformat(timespec="microseconds") <= end
            ]
        first: dict[str, int] = {}
        for entry in entries:
            if entry_hash(entry) != entry.hash:
                raise SealingRefused(
                    f"Entry {entry.pk} is not as it was written: its hash does not fit."
                )
            if not is_authentic(entry):
                raise SealingRefused(
                    f"Entry {entry.pk} was not written by the desk: it has no code that fits."
                )
            if entry.mac in first:
                raise SealingRefused(
                    f"Entry {entry.pk} repeats entry {first[entry.mac]}."
                )
            first[entry.mac] = entry.pk
        repeated = Entry.objects.filter(mac__in=list(first))
        if earlier := repeated.exclude(pk__in=first.values()).first():
            raise SealingRefused(
                f"Entry {first[earlier.mac]} repeats entry {earlier.pk}."
            )
        sealed = []
        for position, entry in enumerate(entries, start=self.size):
            digest = bytes.fromhex(entry.hash)
            sealed.append(
                SealedEntry(
                    entry=entry.pk, seal=self.number, position=position, hash=digest
                )
            )
            self._digest.update(digest)
            self._end = (entry.xid, entry.pk)
        SealedEntry.objects.bulk_create(sealed)
        self.count += len(entries)
        self.size += len(entries)

    def seal(self, *, at: datetime, cluster: str, key: str = "", **fields: Any) -> Seal:
        """Sign the batch as it is now. What `fields` leave out is as in the last seal."""
        last = self.last
        key = key or (last.expected_key if last else public_key())
        end_xid, end_id = self._end
        seal = Seal(
            number=self.number,
            epoch=last.epoch if last else 1,
            count=self.count,
            size=self.size,
            entries=self._digest.hexdigest(),
            previous=last.hash if last else "",
            end_xid=end_xid,
            end_id=end_id,
            after_id=last.after_id if last else 0,
            cluster=cluster,
            at=at,
            key=key,
        )
        for name, value in fields.items():
            setattr(seal, name, value)
        seal.signature = sign(seal)
        seal.save(force_insert=True)
        return seal


# --- After a restore ------------------------------------------------------------------


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
    # Where the next epoch begins. An entry's number and its transaction's id are taken
    # together (audit.recording), the id first. So whoever took a number up to `last_id`
    # has an id below `everybody`, and is waited for; and whoever takes a later number
    # was still open, or not there yet, when `begin` was read.
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
    record("ledger.restored", actor, details=details)
    return seal.count


def _check_entries(last: Seal) -> None:
    """Compare what was sealed with the entries of the backup. Raise SealingRefused for
    the first entry that is not what was sealed, or the first seal that is out of place.
    """
    sealed = enumerate(SealedEntry.objects.with_entries(Entry.objects.all()))
    previous = ""
    seals = Seal.objects.filter(number__lte=last.number).order_by("number")
    for seal in seals.iterator():
        if seal.previous != previous:
            raise SealingRefused(
                f"Seal {seal.number} does not follow the seal before it."
            )
        previous = seal.hash
        digest = hashlib.sha256()
        for position, (row, entry) in islice(sealed, seal.count):
            if row.position != position:
                raise SealingRefused(
                    f"No entry is listed as sealed at position {position}."
                )
            if entry is None:
                raise SealingRefused(f"Entry {row.entry} was sealed, and is not there.")
            if entry_hash(entry) != bytes(row.hash).hex():
                raise SealingRefused(
                    f"Entry {entry.pk} is not the one that was sealed."
                )
            digest.update(row.hash)
        if digest.hexdigest() != seal.entries:
            raise SealingRefused(
                f"The entries under seal {seal.number} are not the ones that it was made over."
            )
