"""Adds leaves to the tree and a seal over them: one transaction, or nothing. Reads what comes next, in tree order.

Before an entry becomes a leaf, it is checked that the desk wrote it and that its time fits.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from audit.models import BLOCK, Entry, Leaf, Seal
from audit.recording import is_authentic, leaf_hash
from audit.sealing.preconditions import DatabaseState, SealingRefused, TreeBase
from audit.sealing.signing import head_hash, public_key, sign, signed_bytes
from audit.sealing.tree import fold, root_of
from audit.verifier.countersign_verify import window
from common.postgres.rows import run

# The most entries in memory at once.
AT_ONCE = 1000


class Growth:
    """The tree while it grows from one seal to the next."""

    def __init__(self, base: TreeBase) -> None:
        self.base = base
        self.number = base.last.number + 1 if base.last else 1
        self.size = base.size
        self._blocks = list(base.blocks)
        self._rest = list(base.rest)
        self._had_macs = _has_macs()
        self.misdated: list[int] = []

    @property
    def added(self) -> int:
        return self.size - self.base.size

    @property
    def root(self) -> str:
        return root_of(self._blocks, self._rest).hex()

    def take(self, chunks: Iterable[Sequence[Entry]], *, at: datetime | None = None) -> None:
        """Add these entries as leaves, and note which were not written between the last seal and `at`.

        Raises SealingRefused for one that is not as the desk wrote it.
        """
        for entries in chunks:
            if at is not None:
                self.misdated += _misdated(entries, before=self.base.last.at if self.base.last else None, at=at)
            for entry in entries:
                if leaf_hash(entry) != entry.leaf_hash:
                    raise SealingRefused(f"Entry {entry.pk} is not as it was written: its hash does not fit.")
            _check_macs(entries, had_macs=self._had_macs)
            self._had_macs = self._had_macs or any(entry.mac for entry in entries)
            self._write_leaves(entries)
            self._rest += [bytes.fromhex(entry.leaf_hash) for entry in entries]
            self._write_blocks()

    def _write_leaves(self, entries: Sequence[Entry]) -> None:
        run(
            "INSERT INTO audit_leaf (position, entry, seal, hash)"
            " SELECT %s + rank - 1, entry, %s, decode(hash, 'hex')"
            "   FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS new (entry, hash, rank)",
            [self.size, self.number, [entry.pk for entry in entries], [entry.leaf_hash for entry in entries]],
        )
        self.size += len(entries)

    def _write_blocks(self) -> None:
        new = [fold(self._rest[first : first + BLOCK]) for first in range(0, len(self._rest) - BLOCK + 1, BLOCK)]
        if not new:
            return
        run(
            "INSERT INTO audit_block (number, hash)"
            " SELECT %s + rank - 1, hash FROM unnest(%s::bytea[]) WITH ORDINALITY AS new (hash, rank)",
            [len(self._blocks), new],
        )
        self._blocks += new
        del self._rest[: len(new) * BLOCK]

    def seal(self, state: DatabaseState, **fields: Any) -> Seal:
        """Sign the tree as it is now. What `fields` leave out is as in the last seal."""
        last = self.base.last
        key = fields.pop("key", None) or (last.expected_key if last else public_key())
        seal = Seal(
            number=self.number,
            size=self.size,
            root=self.root,
            previous=head_hash(last) if last else "",
            cluster=state.cluster,
            at=state.at,
            key=key.hex(),
            **({"epoch": last.epoch if last else 1, "after_id": last.after_id if last else 0} | fields),
        )
        seal.signature = sign(signed_bytes(seal), key=key).hex()
        seal.save(force_insert=True)
        return seal


# --- Whether the desk wrote them ------------------------------------------------------------------------------------


def _has_macs() -> bool:
    """Whether the last entry that was sealed has a code. Entries of releases before 0009 have none."""
    last = Leaf.objects.order_by("-position").values_list("entry", flat=True)[:1]
    return Entry.objects.filter(pk__in=last).exclude(mac="").exists()


def _check_macs(entries: Sequence[Entry], *, had_macs: bool) -> None:
    """Raise SealingRefused for an entry that the desk did not write, or that repeats another one.

    With `had_macs`, entries with codes were sealed before these, and an entry without a code is refused too.
    """
    first: dict[str, int] = {}
    for entry in entries:
        if not entry.mac:
            if had_macs:
                raise SealingRefused(f"Entry {entry.pk} was not written by the desk: it has no code.")
            continue
        had_macs = True
        if not is_authentic(entry):
            raise SealingRefused(f"Entry {entry.pk} was not written by the desk: its code does not fit.")
        if entry.mac in first:
            raise SealingRefused(f"Entry {entry.pk} repeats entry {first[entry.mac]}.")
        first[entry.mac] = entry.pk
    if earlier := Entry.objects.filter(mac__in=list(first)).exclude(pk__in=first.values()).first():
        raise SealingRefused(f"Entry {first[earlier.mac]} repeats entry {earlier.pk}.")


def _misdated(entries: Sequence[Entry], *, before: datetime | None, at: datetime) -> list[int]:
    """Return the numbers of entries whose time does not lie between the seal before and this moment."""
    begin, end = window(before.isoformat() if before else "", at.isoformat())
    return [one.pk for one in entries if not begin <= one.at.isoformat(timespec="microseconds").encode() <= end]


# --- What is sealed next. Raw SQL, for the order of rows: entry_to_seal serves it -----------------------------------


def between(horizon: int, until: int, *, after_id: int, at_once: int) -> Iterator[Sequence[Entry]]:
    """Yield the entries of this epoch from one horizon to the next, so many at once."""
    where = "entry.xid < %s AND entry.id > %s"
    return _in_order(where, [str(until), after_id], at_once, behind=(horizon, after_id))


def not_sealed_up_to(last_id: int, *, at_once: int) -> Iterator[Sequence[Entry]]:
    """Yield every entry up to this number that is no leaf yet, so many at once: what a restore leaves behind."""
    where = "entry.id <= %s AND NOT EXISTS (SELECT FROM audit_leaf leaf WHERE leaf.entry = entry.id)"
    return _in_order(where, [last_id], at_once)


def _in_order(
    where: str, parameters: list[Any], at_once: int, *, behind: tuple[int, int] = (0, 0)
) -> Iterator[Sequence[Entry]]:
    # PostgreSQL begins to read the index here, whatever else is said of `xid`: at zero it would read all of the ledger.
    xid, number = behind
    while True:
        found = Entry.objects.raw(
            f"SELECT entry.* FROM audit_entry entry WHERE {where} AND (entry.xid, entry.id) > (%s, %s)"  # noqa: S608
            " ORDER BY entry.xid, entry.id LIMIT %s",
            [*parameters, str(xid), number, at_once],
        )
        entries = list(found)
        if not entries:
            return
        yield entries
        xid, number = entries[-1].xid, entries[-1].pk


def end_of_step(horizon: int, until: int, *, after_id: int, at_most: int) -> int | None:
    """Return the horizon of a seal over about so many entries, None where there is nothing to seal.

    Transactions are never split: one with more entries than that is sealed whole.
    """
    first, beyond = run(
        "WITH new AS (SELECT xid, row_number() OVER (ORDER BY xid, id) AS rank FROM audit_entry"
        "  WHERE xid >= %(from)s AND xid < %(until)s AND id > %(after)s ORDER BY xid, id LIMIT %(most)s + 1)"
        " SELECT (SELECT xid FROM new WHERE rank = 1)::text,"
        "  (SELECT xid FROM new WHERE rank = %(most)s + 1)::text",
        {"from": str(horizon), "until": str(until), "after": after_id, "most": at_most},
    ).row()
    if first is None:
        return None
    if beyond is None:
        return until
    return int(beyond) if beyond != first else int(first) + 1
