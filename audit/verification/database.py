"""Reads the whole ledger of the database as one moment saw it, and checks it with the code that checks a bundle."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from audit.models import BLOCK, Anchor, Block, Seal
from audit.recording import canonical_entry
from audit.sealing import signing
from audit.sealing.tree import fold
from audit.verifier import countersign_verify as verifier
from common.postgres.rows import run

# --- Rows, in the order of the tree and some at a time --------------------------------------------------------------

AT_ONCE = 1000

_ENTRY = (
    "entry.id, entry.xid::text AS xid, entry.at, entry.actor_kind, entry.actor_id, entry.surface, entry.action,"
    " entry.connection, entry.message, entry.fingerprint, entry.trace, entry.detail_hashes, entry.outcome, entry.mac,"
    " entry.leaf_hash, detail.salt, detail.fields"
)
# Both follow primary keys, and entry_to_seal for the order of what is not sealed.
_SEALED = f"""
SELECT leaf.position, leaf.entry, leaf.seal, leaf.hash, {_ENTRY}
  FROM audit_leaf leaf LEFT JOIN audit_entry entry ON entry.id = leaf.entry
  LEFT JOIN audit_entrydetail detail ON detail.entry_id = leaf.entry ORDER BY leaf.position
"""  # noqa: S608
_UNSEALED = f"""
SELECT NULL, NULL, NULL, NULL, {_ENTRY}
  FROM audit_entry entry LEFT JOIN audit_entrydetail detail ON detail.entry_id = entry.id
 WHERE NOT EXISTS (SELECT FROM audit_leaf leaf WHERE leaf.entry = entry.id) ORDER BY entry.xid, entry.id
"""  # noqa: S608


class Row(NamedTuple):
    """One leaf with its entry and what is left of the details. Without `id` the entry is gone; without `leaf`, new."""

    position: int | None
    leaf_entry: int | None
    leaf_seal: int | None
    leaf: bytes | None
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
    leaf_hash: str
    salt: bytes | None
    fields: dict[str, str] | None


@contextmanager
def one_moment() -> Iterator[None]:
    """See the database as it is now until the end, and write nothing. Must not be within a transaction."""
    with transaction.atomic(durable=True):
        run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # It takes as long as the ledger is large.
        run("SET LOCAL statement_timeout = 0")
        yield


def sealed_rows() -> Iterator[Row]:
    """Yield every leaf with its entry."""
    return _rows(_SEALED)


def unsealed_rows() -> Iterator[Row]:
    """Yield every entry that has no leaf, in the order in which the next seal would take them."""
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

# Only the end of the file of heads is read: each head covers all earlier entries.
_TAIL = 4 * 1024 * 1024


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
        seals = (chain.read(signing.head_line(seal).strip()) for seal in Seal.objects.order_by("number").iterator())
        leaves = _Leaves(report)
        items = _items(leaves, report)
        verifier.check_ledger(report, items, (seal for seal in seals if seal), heads, excuse_restored=True)
        if chain.keys:
            # Before its first seal a desk has nothing that its key could have signed.
            chain.end()
        leaves.end(report.last.size if report.last else 0)
        _check_anchors(report)
    return CheckResult(
        entries=report.entries,
        seals=report.seals,
        findings=[*report.findings, *([f"And {report.more} more."] if report.more else [])],
        notes=report.notes,
        unsealed=report.unsealed,
        fingerprint=verifier.fingerprint_of(report.last.key) if report.last else "",
    )


def _heads(report: verifier.Report) -> verifier.Heads:
    """Return the content of the seals' file; none where there is no file."""
    try:
        with Path(settings.SEAL_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            is_cut, data = file.tell() > 0, file.read()
        data = data.partition(b"\n")[2] if is_cut else data
        return verifier.Heads.read(data) if b"\n" in data else verifier.Heads()
    except FileNotFoundError:
        report.note("There is no seals' file, so deleted newest entries cannot be detected.")
    except OSError as error:
        report.note(f"The seals' file cannot be read: {error.strerror}.")
    except verifier.Unreadable as error:
        report.find(f"The seals' file has a line that is not a seal. {error}")
    return verifier.Heads()


def _items(leaves: "_Leaves", report: verifier.Report) -> Iterator[verifier.Item]:
    for row in sealed_rows():
        yield from leaves.missing_before(row)
        leaves.take(row)
        if row.id is None:
            yield verifier.Item(None, row.leaf_entry, row.leaf)
            continue
        if row.leaf is not None and row.leaf_hash != row.leaf.hex():
            report.find(f"Entry {row.id} and its leaf in the tree do not have the same hash.")
        yield _item(row, row.leaf)
    for row in unsealed_rows():
        yield _item(row, bytes.fromhex(row.leaf_hash) if len(row.leaf_hash) == 64 else None)


def _item(row: Row, leaf: bytes | None) -> verifier.Item:
    return verifier.Item(canonical_entry(row), row.id, leaf, row.salt, row.fields)


class _Leaves:
    """What only the database has: positions without gaps, the seal that each leaf names, and the blocks' hashes."""

    def __init__(self, report: verifier.Report) -> None:
        self._report = report
        self._next = 0
        self._block: list[bytes] = []
        self._blocks = dict(Block.objects.values_list("number", "hash"))
        self._seals = Seal.objects.order_by("number").values_list("number", "size").iterator()
        self._seal = next(self._seals, None)

    def missing_before(self, row: Row) -> Iterator[verifier.Item]:
        """Yield an empty item for each leaf that is gone."""
        assert row.position is not None
        for position in range(self._next, row.position):
            self._report.find(f"The leaf at position {position} is missing.")
            self._next = position + 1
            self._block = []
            yield verifier.Item(None)

    def take(self, row: Row) -> None:
        """Check one leaf's position, seal and block."""
        assert row.position is not None
        while self._seal is not None and row.position >= self._seal[1]:
            self._seal = next(self._seals, None)
        if self._seal is not None and row.leaf_seal != self._seal[0]:
            self._report.find(
                f"The leaf of entry {row.leaf_entry} names seal {row.leaf_seal}, and seal {self._seal[0]} covers it."
            )
        self._next = row.position + 1
        self._block.append(row.leaf or b"")
        if self._next % BLOCK == 0:
            self._end_block(row.position // BLOCK)

    def _end_block(self, number: int) -> None:
        stored = self._blocks.get(number)
        if len(self._block) == BLOCK and (stored is None or bytes(stored) != fold(self._block)):
            self._report.find(f"The kept hash over the leaves {number * BLOCK} to {self._next - 1} is not theirs.")
        self._block = []

    def end(self, size: int) -> None:
        """Check that there are no more leaves than the last seal covers."""
        if self._next > size:
            self._report.find(f"The tree has {self._next} leaves, and the last seal says {size}: seals were removed.")


def _check_anchors(report: verifier.Report) -> None:
    newest = Anchor.objects.aggregate(seal=Max("seal"))["seal"] or 0
    last = report.last.number if report.last else 0
    if newest > last:
        report.find(f"Seal {newest} was written outside, and the last one here is {last}: the end was deleted.")
