"""Reads the whole ledger of the database as one moment saw it, and checks it with the code that checks a bundle."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from audit.models import Seal
from audit.recording import are_found_by, canonical_entry
from audit.sealing import signing
from audit.verification.anchored import check_anchors, read_end_of_file
from audit.verifier import countersign_verify as verifier
from common.postgres.rows import run

# --- Rows, in the order of the seals and some at a time ------------------------------------------------------------

AT_ONCE = 1000

_ENTRY = (
    "entry.id, entry.xid::text AS xid, entry.at, entry.actor_kind, entry.actor_id, entry.surface, entry.action,"
    " entry.connection, entry.message, entry.fingerprint, entry.trace, entry.detail_hashes, entry.outcome, entry.mac,"
    " entry.hash, detail.salt, detail.fields, detail.words"
)
# Both follow primary keys, and entry_to_seal for the order of what is not sealed.
_SEALED = f"""
SELECT sealed.position, sealed.entry, sealed.seal, sealed.hash, {_ENTRY}
  FROM audit_sealedentry sealed LEFT JOIN audit_entry entry ON entry.id = sealed.entry
  LEFT JOIN audit_entrydetail detail ON detail.entry_id = sealed.entry ORDER BY sealed.position
"""  # noqa: S608
_UNSEALED = f"""
SELECT NULL, NULL, NULL, NULL, {_ENTRY}
  FROM audit_entry entry LEFT JOIN audit_entrydetail detail ON detail.entry_id = entry.id
 WHERE NOT EXISTS (SELECT FROM audit_sealedentry sealed WHERE sealed.entry = entry.id) ORDER BY entry.xid, entry.id
"""  # noqa: S608


class Row(NamedTuple):
    """One entry with what is left of its details. Without `id` it is gone; without `sealed_hash` no seal covers it."""

    position: int | None
    sealed_id: int | None
    seal: int | None
    sealed_hash: bytes | None
    id: int | None
    xid: str
    at: datetime
    actor_kind: str
    actor_id: str
    surface: str
    action: str
    connection: int | None
    message: UUID | None
    fingerprint: str
    trace: str
    detail_hashes: dict[str, str]
    outcome: str
    mac: str
    hash: str
    salt: bytes | None
    fields: dict[str, str] | None
    words: str | None


@contextmanager
def one_moment() -> Iterator[None]:
    """See the database as it is now until the end, and write nothing. Must not be within a transaction."""
    with transaction.atomic(durable=True):
        run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # It takes as long as the ledger is large.
        run("SET LOCAL statement_timeout = 0")
        yield


def sealed_rows() -> Iterator[Row]:
    """Yield every sealed entry, also where only its hash is left."""
    return _rows(_SEALED)


def unsealed_rows() -> Iterator[Row]:
    """Yield every entry that no seal covers, in the order in which the next seal would take them."""
    return _rows(_UNSEALED)


def _rows(sql: str) -> Iterator[Row]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql)
        for rows in iter(lambda: cursor.fetchmany(AT_ONCE), []):
            yield from map(_row, rows)


def _row(values: tuple[Any, ...]) -> Row:
    row = Row(*values)
    return row._replace(detail_hashes=_json(row.detail_hashes), fields=_json(row.fields))


def _json(text: Any) -> Any:
    """The driver gives JSON of raw queries as text."""
    return None if text is None else json.loads(text)


# --- The check ------------------------------------------------------------------------------------------------------


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
        data = read_end_of_file()
        return verifier.Heads.read(data) if b"\n" in data else verifier.Heads()
    except FileNotFoundError:
        report.note("There is no seals' file, so deleted newest entries cannot be detected.")
    except OSError as error:
        report.note(f"The seals' file cannot be read: {error.strerror}.")
    except verifier.Unreadable as error:
        report.find(f"The seals' file has a line that is not a seal. {error}")
    return verifier.Heads()


def _items(positions: "_Positions", report: verifier.Report) -> Iterator[verifier.Item]:
    for row in sealed_rows():
        yield from positions.missing_before(row)
        positions.take(row)
        if row.id is None:
            yield verifier.Item(None, row.sealed_id, row.sealed_hash)
            continue
        if row.sealed_hash is not None and row.hash != row.sealed_hash.hex():
            report.find(f"Entry {row.id} and the list of sealed entries do not have the same hash.")
        yield _item(row, row.sealed_hash, report)
    for row in unsealed_rows():
        yield _item(row, bytes.fromhex(row.hash) if len(row.hash) == 64 else None, report)


def _item(row: Row, sealed_hash: bytes | None, report: verifier.Report) -> verifier.Item:
    if row.fields is not None and not are_found_by(row.words or "", row.fields):
        report.find(f"The search words of entry {row.id} were changed: a search may not find it.")
    return verifier.Item(canonical_entry(row), row.id, sealed_hash, row.salt, row.fields)


class _Positions:
    """What only the database has: positions without gaps, and the seal that each sealed entry is listed under."""

    def __init__(self, report: verifier.Report) -> None:
        self._report = report
        self._next = 0
        self._seals = Seal.objects.order_by("number").values_list("number", "size").iterator()
        self._seal = next(self._seals, None)

    def missing_before(self, row: Row) -> Iterator[verifier.Item]:
        """Yield an empty item for each position that is missing."""
        assert row.position is not None
        for position in range(self._next, row.position):
            self._report.find(f"No entry is listed as sealed at position {position}.")
            yield verifier.Item(None)

    def take(self, row: Row) -> None:
        """Check one entry's position and seal."""
        assert row.position is not None
        while self._seal is not None and row.position >= self._seal[1]:
            self._seal = next(self._seals, None)
        if self._seal is not None and row.seal != self._seal[0]:
            self._report.find(
                f"Entry {row.sealed_id} is listed under seal {row.seal}, and seal {self._seal[0]} covers it."
            )
        self._next = row.position + 1

    def end(self, size: int) -> None:
        """Check that no more entries are listed as sealed than the last seal covers."""
        if self._next > size:
            self._report.find(
                f"{self._next} entries are listed as sealed, and the last seal covers {size}: seals were removed."
            )
