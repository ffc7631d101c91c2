"""Seals new entries, and continues the ledger after a backup was restored.

Entries are sealed in the order of their transaction ids. So only entries below the
horizon (the oldest open transaction) are sealed: no earlier entry can appear any more.
The horizon is read before anything is written; otherwise the sealer would wait for its
own transaction.

Each seal is made in one transaction, and only one sealer runs at a time, by a lock.
Even without the lock, unique keys would keep two sealers from making the same seal
twice. Before an entry is sealed, it is checked that the desk wrote it and that its time
fits.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Max, Q

from audit.models import AT_ONCE, Entry, Seal, SealedEntry
from audit.recording import entry_hash, is_authentic, last_number, record
from audit.sealing import anchors, signing
from audit.sealing.signing import (
    SEALER,
    SealingRefused,
    break_since,
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

# After so many seconds, the rest is left to the next run, since tasks have a time
# limit.
LONGEST = 30.0
# The name of the sealers' lock. It is held until the end of a transaction, and not for
# a session, because a connection pooler may give the session to another process.
LOCK = "audit.sealing"


def seal_all() -> int:
    """Seal the entries that can be sealed now, and return their number. Does nothing
    while another sealer runs, or if there is no key.
    """
    sealed = 0
    ends = time.monotonic() + LONGEST
    # Read once: if it moved with each seal, a busy desk would keep this loop running.
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
    """Make the next seal, over entries of transactions below the horizon. Return how
    many entries it covers; None if there are none to seal.

    The seal may also begin a new epoch, or announce a new key.
    """
    at = clock()
    cluster = cluster_id()
    last = latest_seal()
    anchors.check_not_rolled_back(last)
    if last:
        current_key = last.expected_key
        if current_key not in signing.public_keys():
            raise SealingRefused(signing.missing_key(current_key), is_breach=False)
        if why := why_not_automatic(last, cluster):
            raise SealingRefused(why, is_breach=False)
        if is_other_cluster(last, cluster):
            return begin_epoch(last, because=OTHER_CLUSTER, actor=SEALER)
        newest_key = signing.public_key()
        if current_key != newest_key:
            # SEAL_KEY has a newer key: a seal signed with the old key announces it.
            check_end(last)
            seal = Batch(last).seal(
                at=at, cluster=cluster, kind=Seal.Kind.KEY, next_key=newest_key
            )
            details = {
                "seal": str(seal.number),
                "before": fingerprint_of(current_key),
                "after": fingerprint_of(newest_key),
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
    """Collects and checks the entries of the next seal, then makes the seal.

    `misdated` are the numbers of entries whose time does not fit.
    """

    def __init__(self, last: Seal | None) -> None:
        self.last = last
        self.number = last.number + 1 if last else 1
        self.size = last.size if last else 0
        self.count = 0
        self.misdated: list[int] = []
        self._digest = hashlib.sha256()
        self._end = (last.end_xid, last.end_id) if last else (0, 0)

    def take(self, entries: Sequence[Entry], *, at: datetime | None = None) -> None:
        """Add these entries to the batch. If `at` is given, those that were not written
        between the last seal and `at` are noted as misdated.

        Raises SealingRefused if an entry is not as the desk wrote it, or repeats
        another.
        """
        if at:
            # A full seal, or one of another key, may have left older entries waiting.
            waiting = ~Q(kind=Seal.Kind.RESTORED) & Q(count__in=(0, AT_MOST))
            since = Seal.objects.exclude(waiting).order_by("-number").first()
            begin, end = window(since.at.isoformat() if since else "", at.isoformat())
            self.misdated += [
                entry.pk
                for entry in entries
                if not begin <= entry.at.isoformat(timespec="microseconds") <= end
            ]
        number_by_mac: dict[str, int] = {}
        for entry in entries:
            if entry_hash(entry) != entry.hash:
                raise SealingRefused(
                    f"Entry {entry.pk} is not as it was written: its hash does not fit."
                )
            if not is_authentic(entry):
                raise SealingRefused(
                    f"Entry {entry.pk} was not written by the desk: it has no code that fits."
                )
            if entry.mac in number_by_mac:
                raise SealingRefused(
                    f"Entry {entry.pk} repeats entry {number_by_mac[entry.mac]}."
                )
            number_by_mac[entry.mac] = entry.pk
        with_same_mac = Entry.objects.filter(mac__in=number_by_mac)
        if earlier := with_same_mac.exclude(pk__in=number_by_mac.values()).first():
            raise SealingRefused(
                f"Entry {number_by_mac[earlier.mac]} repeats entry {earlier.pk}."
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
        """Make, sign and save the seal over the batch. `fields` replace values of the
        seal that otherwise follow from the batch and the last seal.
        """
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
# How many sealed entries can be compared within the time limit of a task; a million
# take about a minute.
LONGEST_IN_TASK = 1_500_000
# How many seconds to wait for transactions that are open when the new epoch begins, and
# how often to look whether they have ended.
PATIENCE = 10.0
LOOK_EVERY = 0.05


def is_other_cluster(last: Seal, cluster: str) -> bool:
    """Whether the database is in another cluster than when it was last sealed. False if
    either cluster's identifier could not be read.
    """
    return bool(last.cluster and cluster and last.cluster != cluster)


def why_not_automatic(last: Seal, cluster: str) -> str:
    """Return why a ledger in another cluster is not continued automatically; empty if
    it is. A long one needs the command, which has no time limit.
    """
    if not is_other_cluster(last, cluster) or last.size <= LONGEST_IN_TASK:
        return ""
    return (
        f"{OTHER_CLUSTER} With {last.size:,} sealed entries the comparison takes longer than a task may run; do it "
        'with ./run manage audit_restored --because "...".'
    )


def begin_epoch(last: Seal, *, because: str, actor: Actor, key: str = "") -> int:
    """Continue the ledger after a restore: seal every entry that no seal covers, and
    begin the next epoch. Return the number of these entries.

    First all sealed entries are compared with the seals, which takes the longer the
    longer the ledger is. The caller must hold the sealers' lock, and must not have
    written anything in this transaction yet.
    """
    check_end(last)
    _check_entries()
    # Determine where the next epoch begins. A transaction gets its id before it takes
    # an entry's number (audit.recording.next_position). So a transaction that took a
    # number up to `last_id` has an id below `begun_before`, and is waited for. A
    # transaction that takes a later number was still open, or had not begun, when
    # `begin` was read.
    begin = current_snapshot().xmin
    last_id = max(last_number(), Entry.objects.aggregate(last=Max("pk"))["last"] or 0)
    begun_before = current_snapshot().xmax
    ends = time.monotonic() + PATIENCE
    while current_snapshot().xmin < begun_before:
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
    # The entries of the new epoch have numbers above `last_id`, and transactions from
    # `begin` on.
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


def _check_entries() -> None:
    """Compare all sealed entries with the seals. Raise SealingRefused at the first
    entry that is missing or was altered, and at the first seal that does not fit.
    """
    if why := break_since(1):
        raise SealingRefused(why)
    sealed = enumerate(SealedEntry.objects.with_entries(Entry.objects.all()))
    for seal in Seal.objects.order_by("number").iterator():
        digest = hashlib.sha256()
        for position, (row, entry) in islice(sealed, seal.count):
            if row.position != position:
                raise SealingRefused(
                    f"No entry is listed as sealed at position {position}."
                )
            if not entry:
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
