"""What the sealer says in the ledger itself, and why it does not go on."""

from dataclasses import dataclass

from django.db import transaction

from audit.models import Entry, Seal
from audit.recording import record

BROKEN = "ledger.broken"


@dataclass(frozen=True)
class Keeper:
    """Who acts where the ledger is looked after: the desk itself, or an operator through a command."""

    kind: str
    id: str
    label: str
    surface: str
    address: str = ""
    proof: tuple[tuple[str, str], ...] = ()


SEALER = Keeper(kind="worker", id="sealer", label="the sealer", surface="worker")


class SealingRefused(Exception):
    """Nothing is sealed before somebody has looked. `is_breach`: the ledger or its seals are not what they were."""

    def __init__(self, sentence: str, *, is_breach: bool = True) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.is_breach = is_breach


def told_since(last: Seal | None) -> Entry | None:
    """Return the entry in which the sealer said that it does not go on from this seal."""
    told = Entry.objects.of_action(BROKEN).filter(actor_kind=SEALER.kind, actor_id=SEALER.id)
    if last is not None:
        told = told.filter(at__gt=last.at)
    return told.select_related("detail").newest_first().first()


@transaction.atomic
def tell_once(sentence: str, last: Seal | None) -> None:
    """Write the sentence into the ledger, unless that was done since the last seal."""
    if told_since(last) is None:
        record(BROKEN, actor=SEALER, details={"reason": sentence})
