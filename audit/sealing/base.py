"""What a seal stands on: the database as it is now, the last seal, and the tree that it speaks of.

Everything is looked at anew before anything is signed: a signature over a broken base would hide the break.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Max

from audit.models import Leaf, Seal
from audit.sealing import signing
from audit.sealing.heads import head_hash, signed_bytes
from audit.sealing.refusals import SealingRefused
from audit.sealing.tree import TreeIncomplete, read_edge, root_of


@dataclass(frozen=True)
class Facts:
    """What the database says of itself. No transaction below the horizon is still open."""

    horizon: int
    at: datetime
    cluster: str


@dataclass
class Base:
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


def read_facts() -> Facts:
    """Ask the database for horizon, time and identifier.

    Whoever asks must not have written yet: a transaction that has an id of its own keeps the horizon below it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text, clock_timestamp()")
        horizon, at = cursor.fetchone()
        return Facts(int(horizon), at, read_cluster())


def read_cluster() -> str:
    """Return the identifier that the cluster was given when it was made, empty where it may not be read."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')")
        if not cursor.fetchone()[0]:
            return ""
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        return str(cursor.fetchone()[0])


def expected_key(last: Seal) -> bytes:
    """Return the public key that the seal after this one is signed with."""
    return bytes.fromhex(last.next_key or last.key)


def check_base(last: Seal | None) -> Base:
    """Return what the next seal stands on. Raises SealingRefused where that is not what the last seal says."""
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
    return Base(last, blocks, rest)


def _check_signature(last: Seal) -> None:
    if not signing.is_signed(signed_bytes(last), bytes.fromhex(last.signature), bytes.fromhex(last.key)):
        raise SealingRefused(f"The signature of seal {last.number} does not fit what the seal says.")


def _check_link(last: Seal) -> None:
    before = Seal.objects.filter(number=last.number - 1).first()
    if last.number == 1:
        if last.previous:
            raise SealingRefused("The first seal names one before it.")
    elif before is None or head_hash(before) != last.previous:
        raise SealingRefused(f"Seal {last.number} does not follow the seal before it.")
    elif last.kind != Seal.Kind.RESTORED and expected_key(before).hex() != last.key:
        raise SealingRefused(f"Seal {last.number} is signed with a key that the seal before it does not name.")
