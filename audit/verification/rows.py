"""Reads the whole ledger of the database, in the order of the tree, as one moment saw it and some rows at a time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

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
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # It takes as long as the ledger is large.
            cursor.execute("SET LOCAL statement_timeout = 0")
        yield


def sealed_rows() -> Iterator[Row]:
    """Yield every leaf with its entry."""
    return _rows("sealed", _SEALED)


def unsealed_rows() -> Iterator[Row]:
    """Yield every entry that has no leaf, in the order in which the next seal would take them."""
    return _rows("unsealed", _UNSEALED)


def _rows(name: str, sql: str) -> Iterator[Row]:
    with connection.cursor() as cursor:
        cursor.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}")
        while True:
            cursor.execute(f"FETCH {AT_ONCE} FROM {name}")
            found = cursor.fetchall()
            yield from (_row(values) for values in found)
            if len(found) < AT_ONCE:
                break
        cursor.execute(f"CLOSE {name}")


def _row(values: tuple[Any, ...]) -> Row:
    row = Row(*values)
    return row._replace(
        leaf=None if row.leaf is None else bytes(row.leaf),
        detail_hashes=_json(row.detail_hashes),
        salt=None if row.salt is None else bytes(row.salt),
        fields=None if row.fields is None else _json(row.fields),
    )


def _json(value: Any) -> Any:
    """The driver gives JSON of raw queries as text."""
    return json.loads(value) if isinstance(value, str) else value
