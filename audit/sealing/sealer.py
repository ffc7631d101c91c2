"""Seals what no open transaction can come before any more: one seal, one transaction, and one sealer at a time.

It writes nothing before it has read the horizon, so that it never waits for itself. Whoever kills it leaves a whole
seal or none; the primary keys of seals and leaves keep two from forking the chain even without the lock.
"""

import logging
import time

from django.db import connection, transaction

from audit.models import Seal
from audit.recording import record
from audit.sealing import anchors, restoring, signing
from audit.sealing.base import Facts, check_base, expected_key, latest_seal, read_facts
from audit.sealing.entries import between, end_of_step
from audit.sealing.growth import AT_ONCE, Growth
from audit.sealing.refusals import SEALER, SealingRefused, tell_once
from audit.sealing.status import SealingState, sealing_state
from audit.verifier.countersign_verify import Ranges

__all__ = ["SealingState", "latest_seal", "seal_all", "sealing_state"]

log = logging.getLogger(__name__)

# Entries under one seal, where more of them wait.
STEP = 10_000
# Seconds after which the rest is left to the next beat: a task has a limit of its own.
LONGEST = 30.0
# Held to the end of the transaction, never longer: a pooler may hand the session to somebody else.
_LOCK = (0x5EA1, 1)


def seal_all() -> int:
    """Return how many entries were sealed. Does nothing while another seals, or where there is no key."""
    sealed, ends = 0, time.monotonic() + LONGEST
    # What is written meanwhile waits for the next beat, or a busy desk is sealed without end.
    wanted = read_facts().horizon
    while signing.public_keys() and time.monotonic() < ends:
        try:
            with transaction.atomic():
                made = _seal_next() if hold_lock() else None
        except SealingRefused as refused:
            _say(refused)
            break
        if made is None:
            break
        sealed += made
        last = latest_seal()
        if last is not None and last.kind == Seal.Kind.SEAL and last.horizon >= wanted:
            break
    return sealed


def hold_lock() -> bool:
    """Whether this transaction is now the only one that seals."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", _LOCK)
        return bool(cursor.fetchone()[0])


def _say(refused: SealingRefused) -> None:
    log.error("not sealed", extra={"reason": refused.sentence})
    if refused.is_breach:
        tell_once(refused.sentence, latest_seal())


def _seal_next() -> int | None:
    """Make one seal; return over how many new entries, None where there is nothing to do."""
    facts = read_facts()
    last = latest_seal()
    anchors.check_not_played_back(last)
    if last is None:
        return _seal_step(last, facts)
    signer = expected_key(last)
    if signer not in signing.public_keys():
        raise SealingRefused(signing.missing(signer), is_breach=False)
    if why := restoring.why_not_by_itself(last, facts.cluster):
        raise SealingRefused(why, is_breach=False)
    if restoring.is_elsewhere(last, facts.cluster):
        return restoring.take_up(last, because=restoring.ELSEWHERE, actor=SEALER)
    if signer != signing.public_key():
        return _change_key(last, facts)
    return _seal_step(last, facts)


def _seal_step(last: Seal | None, facts: Facts) -> int | None:
    begin, after_id = (last.horizon, last.after_id) if last else (0, 0)
    horizon = end_of_step(begin, facts.horizon, after_id=after_id, at_most=STEP)
    if horizon is None:
        return None
    growth = Growth(check_base(last))
    growth.take(between(begin, horizon, after_id=after_id, at_once=AT_ONCE), at=facts.at)
    seal = growth.seal(facts, horizon=horizon)
    if growth.misdated:
        numbers = str(Ranges.over(growth.misdated))
        log.error("entries out of their time", extra={"seal": seal.number, "entries": numbers})
        record("ledger.misdated", actor=SEALER, details={"seal": str(seal.number), "numbers": numbers})
    return growth.added


def _change_key(last: Seal, facts: Facts) -> int:
    """Let the key that leaves name the one that comes."""
    new = signing.public_key()
    seal = Growth(check_base(last)).seal(facts, kind=Seal.Kind.KEY, horizon=last.horizon, next_key=new.hex())
    before, after = signing.key_fingerprint(expected_key(last)), signing.key_fingerprint(new)
    record("ledger.key_changed", actor=SEALER, details={"seal": str(seal.number), "before": before, "after": after})
    return 0
