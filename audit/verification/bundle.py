"""Writes the whole ledger into a folder or a .zip that can be checked without the desk: docs/ledger.md.

It is written to a temporary folder beside the target and moved when it is whole, so no half bundle is left.
"""

import errno
import json
import os
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from audit.models import Seal
from audit.recording import canonical_entry
from audit.sealing.signing import head_line
from audit.verification.database import Row, one_moment, sealed_rows, unsealed_rows
from audit.verifier import countersign_verify as verifier
from common.fingerprint import canonical_json
from common.postgres import clock

VERIFIER = Path(verifier.__file__)
_README = Path(__file__).with_name("readme.txt")
_REPORT_EVERY = 10_000


class BundleFailed(Exception):
    """There is no bundle; the sentence says why."""


@dataclass
class BundleSummary:
    """What a bundle holds."""

    made_at: datetime
    entries: int = 0
    sealed: int = 0
    seals: int = 0
    root: str = verifier.EMPTY.hex()
    size: int = 0
    # Key and the number of the first seal that it signed.
    keys: list[tuple[str, int]] = field(default_factory=list)

    @property
    def unsealed(self) -> int:
        return max(0, self.entries - self.size)

    @property
    def fingerprint(self) -> str:
        """The newest key's, empty without a seal."""
        return verifier.fingerprint_of(self.keys[-1][0]) if self.keys else ""


def write_bundle(target: Path, *, details: bool = True, progress: Callable[[int], None] | None = None) -> BundleSummary:
    """Write everything that the ledger holds at this moment; raise BundleFailed, and leave nothing, where it fails.

    Must not be called within a transaction. A name that ends in .zip makes one file.
    """
    if os.path.lexists(target):
        raise BundleFailed(f"{target} is there already, and is not written over.")
    try:
        with _temporary_folder(target) as part:
            folder = part / "bundle"
            folder.mkdir(mode=0o700)
            summary = _fill(folder, details=details, progress=progress)
            whole = _zipped(folder, part / "bundle.zip") if target.suffix == ".zip" else folder
            _sync(part)
            _move(whole, target)
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise BundleFailed(f"{target} could not be written, and nothing of it was left: {why}.") from None
    return summary


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """Give a folder of its own next to the target, and remove it with all that is left in it."""
    if not target.parent.is_dir():
        raise BundleFailed(f"There is no folder {target.parent}.")
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(folder: Path, *, details: bool, progress: Callable[[int], None] | None) -> BundleSummary:
    with one_moment():
        summary = BundleSummary(made_at=clock())
        _write_seals(folder, summary)
        _write_rows(folder, summary, details=details, progress=progress)
    (folder / VERIFIER.name).write_bytes(VERIFIER.read_bytes())
    (folder / "README.txt").write_bytes(_README.read_bytes())
    keys = [
        {"key": key, "fingerprint": verifier.fingerprint_of(key), "first_seal": number} for key, number in summary.keys
    ]
    _write_json(folder / "keys.json", {"keys": keys})
    manifest = _manifest(summary) | {"details": "included" if details else "left out"}
    _write_json(folder / "manifest.json", manifest)
    return summary


def _write_seals(folder: Path, summary: BundleSummary) -> None:
    with (folder / "seals.jsonl").open("wb") as file:
        for seal in Seal.objects.order_by("number").iterator():
            file.write(head_line(seal))
            summary.seals += 1
            summary.size, summary.root = seal.size, seal.root
            if not summary.keys or summary.keys[-1][0] != seal.key:
                summary.keys.append((seal.key, seal.number))


def _write_rows(folder: Path, summary: BundleSummary, *, details: bool, progress: Callable[[int], None] | None) -> None:
    with ExitStack() as files:
        entries: IO[bytes] = files.enter_context((folder / "entries.jsonl").open("wb"))
        listed: IO[bytes] = files.enter_context((folder / "details.jsonl").open("wb"))
        for row in chain(sealed_rows(), unsealed_rows()):
            # An entry that is gone stays listed by its leaf, so that a verifier names it.
            listed.write(_detail_line(row, details=details))
            if row.id is None:
                continue
            entries.write(canonical_entry(row) + b"\n")
            summary.entries += 1
            if progress and summary.entries % _REPORT_EVERY == 0:
                progress(summary.entries)


def _detail_line(row: Row, *, details: bool) -> bytes:
    is_included = details and row.salt is not None
    listed = {
        "id": row.leaf_entry if row.id is None else row.id,
        "leaf": row.leaf_hash if row.leaf is None else row.leaf.hex(),
        "salt": row.salt.hex() if is_included and row.salt is not None else None,
        "fields": row.fields if is_included else {},
    }
    return canonical_json(listed) + b"\n"


def _manifest(summary: BundleSummary) -> dict[str, Any]:
    return {
        "v": 1,
        "product": "Countersign",
        "version": product_version(),
        "made_at": summary.made_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "entries": summary.entries,
        "seals": summary.seals,
        "size": summary.size,
        "root": summary.root,
        "unsealed": summary.unsealed,
    }


def product_version() -> str:
    """Return the product's version, as its own file says it."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    return str(project["project"]["version"])


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="ascii")


def _zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for one in sorted(folder.iterdir()):
            packed.write(one, one.name)
            one.unlink()
    return path


def _sync(part: Path) -> None:
    """Have everything on the disk before it gets its name."""
    for path in part.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _move(whole: Path, target: Path) -> None:
    """Give it its name, unless somebody else took that meanwhile."""
    if whole.is_dir():
        # Fails on a folder that holds something, or on a file.
        whole.rename(target)
    else:
        os.link(whole, target)
