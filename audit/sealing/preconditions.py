"""What must hold before anything is sealed: the last seal, the tree that it speaks of, and the database as it is now.

A signature over a broken base would hide the break, so all of it is checked again each time.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from audit.models import Entry, Leaf, Seal
from audit.recording import SystemActor, record
from audit.sealing.signing import head_hash, is_signed, signed_bytes
from audit.sealing.tree import TreeIncomplete, read_edge, root_of
from common.postgres.rows import run

BROKEN = "ledger.broken"
SEALER = SystemActor("worker", "sealer", "the sealer")


class SealingRefused(Exception):
    """Sealing stops until a person has looked into it. `is_breach`: the ledger or its seals were altered."""

    def __init__(self, sentence: str, *, is_breach: bool = True) -> None:
        super().__init__(sentence)
        self.is_breach = is_breach


def refusal_since(last: Seal | None) -> Entry | None:
    """Return the entry in which the sealer refused to go on from this seal."""
    refusals = Entry.objects.of_action(BROKEN).filter(actor_kind=SEALER.kind, actor_id=SEALER.id)
    if last is not None:
        refusals = refusals.filter(at__gt=last.at)
    return refusals.select_related("detail").newest_first().first()


@transaction.atomic
def record_refusal(sentence: str, last: Seal | None) -> None:
    """Write the refusal into the ledger, unless that was done since the last seal."""
    if refusal_since(last) is None:
        record(BROKEN, actor=SEALER, details={"reason": sentence})


@dataclass(frozen=True)
class DatabaseState:
    """The database's state. No transaction below the horizon is still open."""

    horizon: int
    at: datetime
    cluster: str


@dataclass
class TreeBase:
    """The last seal, and the edge of the tree at which the next leaf comes."""

    last: Seal | None
    blocks: list[bytes]
    rest: list[bytes]

    @property
    def size(self) -> int:
        return self.last.size if self.last else 0


def latest_seal() -> Seal | None:
    """Return the newest seal."""
    return Seal.objects.order_by("-number").first()


def read_database_state() -> DatabaseState:
    """Ask the database for horizon, time and identifier.

    Whoever asks must not have written yet: a transaction that has an id of its own keeps the horizon below it.
    """
    horizon, at = run("SELECT pg_snapshot_xmin(pg_current_snapshot())::text, clock_timestamp()").row()
    return DatabaseState(int(horizon), at, read_cluster())


def read_cluster() -> str:
    """Return the cluster's own identifier, empty where it may not be read."""
    if not run("SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')").row()[0]:
        return ""
    return str(run("SELECT system_identifier::text FROM pg_control_system()").row()[0])


def check_base(last: Seal | None) -> TreeBase:
    """Return the base of the next seal. Raises SealingRefused where it does not match the last seal."""
    size = last.size if last else 0
    if last is not None:
        _check_signature(last)
        _check_link(last)
    leaves = Leaf.objects.aggregate(last=Max("position"))["last"]
    if (leaves is not None and leaves >= size) or (leaves is None and size):
        stand = "the tree has leaves that no seal speaks of" if leaves is not None else "the tree is empty"
        raise SealingRefused(f"Seal {last.number if last else 0} is over {size} entries, and {stand}.")
    try:
        blocks, rest = read_edge(size)
    except TreeIncomplete as missing:
        raise SealingRefused(f"The tree under seal {last.number if last else 0} is not whole: {missing}") from None
    if last is not None and root_of(blocks, rest).hex() != last.root:
        raise SealingRefused(f"The tree is not the one that seal {last.number} was made over.")
    return TreeBase(last, blocks, rest)


def _check_signature(last: Seal) -> None:
    if not is_signed(signed_bytes(last), bytes.fromhex(last.signature), bytes.fromhex(last.key)):
        raise SealingRefused(f"The signature of seal {last.number} does not fit what the seal says.")


def _check_link(last: Seal) -> None:
    before = Seal.objects.filter(number=last.number - 1).first()
    if last.number == 1:
        if last.previous:
            raise SealingRefused("The first seal names one before it.")
    elif before is None or head_hash(before) != last.previous:
        raise SealingRefused(f"Seal {last.number} does not follow the seal before it.")
    elif last.kind != Seal.Kind.RESTORED and before.expected_key.hex() != last.key:
        raise SealingRefused(f"Seal {last.number} is signed with a key that the seal before it does not name.")
