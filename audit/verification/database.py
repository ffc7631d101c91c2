"""Reads the whole ledger of the database as one moment saw it, and checks it with the code that checks a bundle."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from audit.models import AT_ONCE, Entry, Seal, SealedEntry
from audit.recording import are_found_by, canonical_entry
from audit.sealing import signing
from audit.sealing.anchors import end_of_file
from audit.verification.anchored import check_anchors
from audit.verifier import countersign_verify as verifier
from common.postgres import one_moment


@dataclass(frozen=True)
class CheckResult:
    """What a check of the whole ledger found: sentences, the first bad entry first."""

    entries: int
    seals: int
    findings: list[str] = field(default_factory=list)
    # Notes that are no findings.
    notes: list[str] = field(default_factory=list)
    # Entries that no seal covers yet.
    unsealed: int = 0
    # Key of the newest seal, as people compare it; empty without a seal.
    fingerprint: str = ""

    @property
    def holds(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


def check_database(progress: Callable[[int], None] | None = None) -> CheckResult:
    """Check all entries and seals in one snapshot; must not be called within a transaction.

    `progress` is called now and then with the number of entries that were checked.
    """
    report = verifier.Report(progress)
    # Read first: what is written there later may be of seals that the snapshot does not see.
    heads = _heads(report)
    with one_moment():
        chain = verifier.Chain(report, verifier.Trust(key.hex() for key in signing.public_keys()))
        seals = (chain.read(signing.seal_line(seal).strip()) for seal in Seal.objects.order_by("number").iterator())
        positions = _Positions(report)
        items = _items(positions, report)
        verifier.check_ledger(report, items, (seal for seal in seals if seal), heads, excuse_restored=True)
        if chain.keys:
            # Before its first seal a desk has nothing that its key could have signed.
            chain.end()
        positions.end(report.last.size if report.last else 0)
        check_anchors(report)
    return CheckResult(
        entries=report.entries,
        seals=report.seals,
        findings=[*report.findings, *([f"And {report.more} more."] if report.more else [])],
        notes=report.notes,
        unsealed=report.unsealed,
        fingerprint=verifier.fingerprint_of(report.last.key) if report.last else "",
    )


def _heads(report: verifier.Report) -> verifier.Heads:
    """Return the seals at the end of the seals' file; none where there is no file."""
    try:
        data = end_of_file()
        return verifier.Heads.read(data) if b"\n" in data else verifier.Heads()
    except FileNotFoundError:
        report.note("There is no seals' file, so deleted newest entries cannot be detected.")
    except OSError as error:
        report.note(f"The seals' file cannot be read: {error.strerror}.")
    except verifier.Unreadable as error:
        report.find(f"The seals' file has a line that is not a seal. {error}")
    return verifier.Heads()


def _items(positions: "_Positions", report: verifier.Report) -> Iterator[verifier.Item]:
    for sealed, entry in SealedEntry.objects.with_entries(Entry.objects.with_salts()):
        yield from positions.missing_before(sealed)
        positions.take(sealed)
        sealed_hash = bytes(sealed.hash)
        if entry is None:
            yield verifier.Item(None, sealed.entry, sealed_hash)
            continue
        if entry.hash != sealed_hash.hex():
            report.find(f"Entry {entry.pk} and the list of sealed entries do not have the same hash.")
        yield _item(entry, sealed_hash, report)
    for entry in Entry.objects.unsealed().with_salts().iterator(AT_ONCE):
        yield _item(entry, bytes.fromhex(entry.hash) if len(entry.hash) == 64 else None, report)


def _item(entry: Any, sealed_hash: bytes | None, report: verifier.Report) -> verifier.Item:
    if entry.details is not None and not are_found_by(entry.words or "", entry.details):
        report.find(f"The search words of entry {entry.pk} were changed: a search may not find it.")
    salt = None if entry.salt is None else bytes(entry.salt)
    return verifier.Item(canonical_entry(entry), entry.pk, sealed_hash, salt, entry.details)


class _Positions:
    """What only the database has: positions without gaps, and the seal that each sealed entry is listed under."""

    def __init__(self, report: verifier.Report) -> None:
        self._report = report
        self._next = 0
        self._seals = Seal.objects.order_by("number").values_list("number", "size").iterator()
        self._seal = next(self._seals, None)

    def missing_before(self, row: SealedEntry) -> Iterator[verifier.Item]:
        """Yield an empty item for each position that is missing."""
        for position in range(self._next, row.position):
            self._report.find(f"No entry is listed as sealed at position {position}.")
            yield verifier.Item(None)

    def take(self, row: SealedEntry) -> None:
        """Check one entry's position and seal."""
        while self._seal is not None and row.position >= self._seal[1]:
            self._seal = next(self._seals, None)
        if self._seal is not None and row.seal != self._seal[0]:
            self._report.find(f"Entry {row.entry} is listed under seal {row.seal}, and seal {self._seal[0]} covers it.")
        self._next = row.position + 1

    def end(self, size: int) -> None:
        """Check that no more entries are listed as sealed than the last seal covers."""
        if self._next > size:
            self._report.find(
                f"{self._next} entries are listed as sealed, and the last seal covers {size}: seals were removed."
            )
