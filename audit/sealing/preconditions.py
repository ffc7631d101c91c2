"""What must hold before anything is sealed: the last seal, the batch under it, and the
database as it is now.

A signature over a broken end would hide the break, so the end is checked again each
time. The whole ledger is checked by the daily check, and before the first seal after a
restore.
"""

import hashlib

from django.db import transaction
from django.db.models import Max

from audit.models import Entry, Seal, SealedEntry
from audit.recording import record
from audit.sealing.signing import is_signed
from common.actors import Actor

BROKEN = "ledger.broken"
SEALER = Actor("worker", "sealer", "the sealer", "worker")


class SealingRefused(Exception):
    """Sealing stops until a person has looked into it. `is_breach`: the ledger or its
    seals were altered.
    """

    def __init__(self, sentence: str, *, is_breach: bool = True) -> None:
        super().__init__(sentence)
        self.is_breach = is_breach


def refusal_since(last: Seal | None) -> Entry | None:
    """Return the entry in which the sealer refused to go on from this seal."""
    refusals = Entry.objects.of_action(BROKEN).filter(
        actor_kind=SEALER.kind, actor_id=SEALER.id
    )
    if last is not None:
        refusals = refusals.filter(at__gt=last.at)
    return refusals.with_details().newest_first().first()


@transaction.atomic
def record_refusal(sentence: str, last: Seal | None) -> None:
    """Write the refusal into the ledger, unless that was done since the last seal."""
    if refusal_since(last) is None:
        record(BROKEN, actor=SEALER, details={"reason": sentence})


def latest_seal() -> Seal | None:
    """Return the newest seal."""
    return Seal.objects.order_by("-number").first()


def check_end(last: Seal | None) -> None:
    """Raise SealingRefused where the last seal does not fit the entries under it or the
    seal before it.
    """
    number = size = 0
    if last is not None:
        number = last.number
        size = last.size
        if not is_signed(last):
            raise SealingRefused(
                f"The signature of seal {number} does not fit what the seal says."
            )
        before = Seal.objects.filter(number=number - 1).first()
        if number == 1:
            if last.previous:
                raise SealingRefused("The first seal names one before it.")
        elif before is None or before.hash != last.previous:
            raise SealingRefused(f"Seal {number} does not follow the seal before it.")
        elif last.kind != Seal.Kind.RESTORED and before.expected_key != last.key:
            raise SealingRefused(
                f"Seal {number} is signed with a key that the seal before it does not name."
            )
    newest = SealedEntry.objects.aggregate(position=Max("position"))["position"]
    sealed = 0 if newest is None else newest + 1
    if sealed != size:
        what = (
            "entries are sealed that no seal covers"
            if sealed > size
            else "not all of them are listed as sealed"
        )
        raise SealingRefused(f"Seal {number} is over {size} entries, and {what}.")
    if last is not None and last.entries != stored_batch_hash(last):
        raise SealingRefused(
            f"The sealed hashes of the entries are not the ones that seal {number} was made over."
        )


def stored_batch_hash(seal: Seal) -> str:
    """Return the hash over the hashes of a seal's entries as they were sealed."""
    digest = hashlib.sha256()
    hashes = SealedEntry.objects.under(seal).values_list("hash", flat=True)
    for sealed_hash in hashes.iterator():
        digest.update(sealed_hash)
    return digest.hexdigest()
