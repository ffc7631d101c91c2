"""Collects the entries of the next seal and signs it: one transaction, or nothing.

Before an entry is sealed, it is checked that the desk wrote it and that its time fits.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from audit.models import Entry, Seal, SealedEntry
from audit.recording import entry_hash, is_authentic
from audit.sealing.preconditions import SealingRefused
from audit.sealing.signing import public_key, sign
from audit.verifier.countersign_verify import window

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
        # Whether the last entry that was sealed has a code. Entries of releases before
        # 0009 have none.
        newest = SealedEntry.objects.order_by("-position").values("entry")[:1]
        self._had_macs = Entry.objects.filter(pk__in=newest).exclude(mac="").exists()
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
            if not entry.mac:
                if self._had_macs:
                    raise SealingRefused(
                        f"Entry {entry.pk} was not written by the desk: it has no code."
                    )
                continue
            self._had_macs = True
            if not is_authentic(entry):
                raise SealingRefused(
                    f"Entry {entry.pk} was not written by the desk: its code does not fit."
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
