"""Writes an entry and its details in one call of the database, which takes the place in the ledger as it goes.

The hash covers number, transaction and time, which only the database knows before. So the text that is hashed is made
here up to those three, and put together and hashed there: a round trip less for every act.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from audit.models import Entry
from common.fingerprint import canonical_json
from common.postgres.rows import run

# A function of the database (migration 0009), whose plans are kept: to plan both inserts takes longer than to do them.
_APPEND = "SELECT audit_append(" + ", ".join(["%s"] * 17) + ")"
# The only way in which the application's role can remove details.
_REMOVE = "SELECT audit_remove_details(" + ", ".join(["%s"] * 18) + ")"


def append(entry: Entry, *, salt: bytes, fields: dict[str, str], words: str, removes: Sequence[int] = ()) -> None:
    """Insert the entry, which gets its place and its hash, and its details; remove the details that it tells of."""
    answer = run(
        _REMOVE if removes else _APPEND,
        [
            *([list(removes)] if removes else []),
            entry.actor_kind,
            entry.actor_id,
            entry.surface,
            entry.action,
            entry.connection,
            entry.message,
            entry.fingerprint,
            entry.trace,
            json.dumps(entry.detail_hashes),
            entry.outcome,
            entry.mac,
            *_around_the_place(entry),
            salt,
            json.dumps(fields),
            words,
        ],
    )
    # As one text, because the driver takes its time over each column.
    number, xid, entry.leaf_hash, at = answer.row()[0].split(" ")
    entry.id, entry.xid, entry.at = int(number), int(xid), datetime.fromisoformat(at).replace(tzinfo=UTC)


def _around_the_place(entry: Entry) -> tuple[str, str, str]:
    """Return the canonical text of audit.recording up to the time, from there to the number, and to the transaction."""
    before: dict[str, Any] = {"action": entry.action, "actor_id": entry.actor_id, "actor_kind": entry.actor_kind}
    between = {
        "connection": entry.connection,
        "detail_hashes": entry.detail_hashes,
        "fingerprint": entry.fingerprint,
    }
    after = {
        "mac": entry.mac,
        "message": str(entry.message) if entry.message else None,
        **({"outcome": entry.outcome} if entry.outcome else {}),
        "surface": entry.surface,
        "trace": entry.trace,
    }
    return (
        f'{_opened(before)},"at":"',
        f'+00:00",{_opened(between)[1:]},"id":',
        f',{_opened(after)[1:]},"xid":"',
    )


def _opened(columns: dict[str, Any]) -> str:
    return canonical_json(columns).decode()[:-1]
