"""Adds leaves to the tree and a seal over them: one transaction, or nothing."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from audit.models import BLOCK, Entry, Seal
from audit.recording import leaf_hash
from audit.sealing import signing
from audit.sealing.authenticity import check_macs, has_macs, misdated
from audit.sealing.base import Base, Facts, expected_key
from audit.sealing.heads import head_hash, signed_bytes
from audit.sealing.refusals import SealingRefused
from audit.sealing.tree import fold, root_of

# Entries that are held in memory at once.
AT_ONCE = 1000


class Growth:
    """The tree while it grows from one seal to the next."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self.number = base.last.number + 1 if base.last else 1
        self.size = base.size
        self._blocks = list(base.blocks)
        self._rest = list(base.rest)
        self._had_macs = has_macs()
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
                self.misdated += misdated(entries, before=self.base.last.at if self.base.last else None, at=at)
            for entry in entries:
                if leaf_hash(entry) != entry.leaf_hash:
                    raise SealingRefused(f"Entry {entry.pk} is not as it was written: its hash does not fit.")
            check_macs(entries, had_macs=self._had_macs)
            self._had_macs = self._had_macs or any(entry.mac for entry in entries)
            self._write_leaves(entries)
            self._rest += [bytes.fromhex(entry.leaf_hash) for entry in entries]
            self._write_blocks()

    def _write_leaves(self, entries: Sequence[Entry]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO audit_leaf (position, entry, seal, hash)"
                " SELECT %s + place - 1, entry, %s, decode(hash, 'hex')"
                "   FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS new (entry, hash, place)",
                [self.size, self.number, [entry.pk for entry in entries], [entry.leaf_hash for entry in entries]],
            )
        self.size += len(entries)

    def _write_blocks(self) -> None:
        new = [fold(self._rest[place : place + BLOCK]) for place in range(0, len(self._rest) - BLOCK + 1, BLOCK)]
        if not new:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO audit_block (number, hash)"
                " SELECT %s + place - 1, hash FROM unnest(%s::bytea[]) WITH ORDINALITY AS new (hash, place)",
                [len(self._blocks), new],
            )
        self._blocks += new
        del self._rest[: len(new) * BLOCK]

    def seal(self, facts: Facts, **says: Any) -> Seal:
        """Sign the tree as it is now. What is not said is as in the last seal."""
        last = self.base.last
        key = says.pop("key", None) or (expected_key(last) if last else signing.public_key())
        fields = {
            "kind": Seal.Kind.SEAL,
            "epoch": last.epoch if last else 1,
            "after_id": last.after_id if last else 0,
            **says,
        }
        seal = Seal(
            number=self.number,
            size=self.size,
            root=self.root,
            previous=head_hash(last) if last else "",
            cluster=facts.cluster,
            at=facts.at,
            key=key.hex(),
            **fields,
        )
        seal.signature = signing.sign(signed_bytes(seal), key=key).hex()
        seal.save(force_insert=True)
        return seal
