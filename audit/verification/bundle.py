"""Writes a bundle: the whole ledger as files in a folder or a .zip, with the program
that checks them without the desk. docs/ledger.md describes the files.

It is written to a temporary folder next to the target and moved when it is complete, so
no partial bundle is left.
"""

import errno
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.db import DataError, transaction

from audit.models import AT_ONCE, Entry, Seal, SealedEntry, written_time
from audit.recording import canonical_entry
from audit.sealing.sealer import LOCK
from audit.verifier import countersign_verify as verifier
from common.fingerprint import canonical_json
from common.postgres import one_moment, take_lock
from common.version import product_build

VERIFIER = Path(verifier.__file__)
_README = Path(__file__).with_name("readme.txt")
# How many entries are between two reports of progress.
_REPORT_EVERY = 10_000


class BundleFailed(Exception):
    """The bundle was not written; the message says why."""


@dataclass
class BundleSummary:
    """What a bundle contains. `size` is the number of its sealed entries."""

    made_at: datetime
    entries: int = 0
    seals: int = 0
    size: int = 0
    # The hash of the last seal; empty if there is no seal.
    last: str = ""
    # The public key that signed it.
    key: str = ""

    @property
    def unsealed(self) -> int:
        return max(0, self.entries - self.size)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the newest key; empty if there is no seal."""
        return verifier.fingerprint_of(self.key) if self.key else ""


def write_bundle(
    target: Path, *, details: bool = True, progress: Callable[[int], None] | None = None
) -> BundleSummary:
    """Write the ledger as it is at this moment; without `details`, personal texts are
    left out. A target that ends in .zip becomes one file.

    Raises BundleFailed, and leaves no files behind, if it cannot be written. Must not
    be called within a transaction.
    """
    if os.path.lexists(target):
        raise BundleFailed(f"{target} already exists and is not overwritten.")
    if not target.parent.is_dir():
        raise BundleFailed(f"The folder {target.parent} does not exist.")
    try:
        with TemporaryDirectory(
            prefix=f".{target.name}.",
            suffix=".part",
            dir=target.parent,
            ignore_cleanup_errors=True,
        ) as name:
            folder = Path(name, "bundle")
            folder.mkdir(mode=0o700)
            summary = _fill(folder, details=details, progress=progress)
            whole = folder
            if target.suffix == ".zip":
                whole = folder.with_suffix(".zip")
                whole.touch(mode=0o600)
                with zipfile.ZipFile(
                    whole, "w", zipfile.ZIP_DEFLATED, compresslevel=1
                ) as packed:
                    for one in sorted(folder.iterdir()):
                        packed.write(one, one.name)
                        one.unlink()
            for path in [whole] if whole.is_file() else whole.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            # Neither `rename` of a folder nor `link` replaces a file that was made
            # there meanwhile.
            if whole.is_dir():
                whole.rename(target)
            else:
                os.link(whole, target)
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = "the disk is full"
        raise BundleFailed(
            f"{target} could not be written and was removed: {why}."
        ) from None
    except (DataError, ValueError) as error:
        raise BundleFailed(
            f"The ledger has a row that cannot be read: {error}. ./run manage audit_verify says more."
        ) from None
    return summary


# Writes the files of the bundle into the folder.
def _fill(
    folder: Path, *, details: bool, progress: Callable[[int], None] | None
) -> BundleSummary:
    # The sealer holds this lock. So a seal that is missing below was begun later.
    with transaction.atomic():
        made_at = take_lock(LOCK)
    with (
        one_moment(),
        (folder / "seals.jsonl").open("wb") as seals,
        (folder / "entries.jsonl").open("wb") as entries,
        (folder / "details.jsonl").open("wb") as listed,
    ):
        summary = BundleSummary(made_at=made_at)
        for seal in Seal.objects.order_by("number").iterator():
            seals.write(seal.as_line())
            summary.seals += 1
            summary.size = seal.size
            summary.last = seal.hash
            summary.key = seal.key
        sealed = (
            (one.entry, bytes(one.hash).hex(), entry)
            for one, entry in SealedEntry.objects.with_entries(
                Entry.objects.with_salts()
            )
        )
        unsealed = (
            (entry.pk, entry.hash, entry)
            for entry in Entry.objects.unsealed().with_salts().iterator(AT_ONCE)
        )
        # (number, hash when it was sealed, entry); the entry is None if it was deleted.
        rows: Iterator[tuple[int, str, Any]] = chain(sealed, unsealed)
        for number, sealed_hash, entry in rows:
            line = details_line(number, sealed_hash, entry if details else None)
            listed.write(canonical_json(line) + b"\n")
            if not entry:
                continue
            entries.write(canonical_entry(entry) + b"\n")
            summary.entries += 1
            if progress and summary.entries % _REPORT_EVERY == 0:
                progress(summary.entries)
    (folder / VERIFIER.name).write_bytes(VERIFIER.read_bytes())
    (folder / "README.txt").write_bytes(_README.read_bytes())
    manifest = {
        "v": 2,
        "product": "Countersign",
        "version": product_build(),
        "made_at": written_time(summary.made_at),
        "entries": summary.entries,
        "seals": summary.seals,
        "size": summary.size,
        "last": summary.last,
        "unsealed": summary.unsealed,
        "details": "included" if details else "left out",
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="ascii")
    return summary


def details_line(number: int, sealed_hash: str, entry: Any) -> dict[str, Any]:
    """Return a line of details.jsonl. A deleted entry (None) is still listed with its
    hash, so that the verifier can say which one is missing.
    """
    salt = entry and entry.salt
    return {
        "id": number,
        "hash": sealed_hash,
        "salt": None if salt is None else bytes(salt).hex(),
        "fields": {} if salt is None else entry.details,
    }
