"""Seals entries that no open transaction can precede any more: one seal per
transaction, one sealer at a time.

It writes nothing before it has read the horizon, so that it never waits for itself.
Whoever kills it leaves a whole seal or none; the keys of seals and sealed entries keep
two from forking the chain even without the lock.
"""

import logging
import time

from django.db import transaction

from audit.models import Entry, Seal
from audit.recording import record
from audit.sealing import anchors, restoring, signing
from audit.sealing.batch import AT_MOST, Batch
from audit.sealing.preconditions import (
    SEALER,
    SealingRefused,
    check_end,
    latest_seal,
    record_refusal,
)
from audit.verifier.countersign_verify import Ranges, fingerprint_of
from common.postgres import clock, try_lock
from common.postgres.server import cluster_id, current_snapshot

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
        if why := restoring.why_not_automatic(last, cluster):
            raise SealingRefused(why, is_breach=False)
        if restoring.is_other_cluster(last, cluster):
            return restoring.begin_epoch(
                last, because=restoring.OTHER_CLUSTER, actor=SEALER
            )
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
            record("ledger.key_changed", actor=SEALER, details=details)
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
        record("ledger.misdated", actor=SEALER, details=details)
    return seal.count
