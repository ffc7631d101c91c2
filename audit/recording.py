"""The one way to write the ledger. Whoever wants to know that something happened listens to `recorded`."""

import hashlib
import os
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from django.db import connection as database
from django.db import transaction
from django.dispatch import Signal

from audit.actions import ACTIONS
from audit.models import Entry, EntryDetail
from common.fingerprint import canonical_json
from common.logs import trace_id

# Sent inside the transaction that wrote the entry, with `entry` and `details`. Receivers that may fail use a
# savepoint of their own: a mistake in an alert must never cost a decision.
recorded = Signal()


class ActorLike(Protocol):
    """What the ledger needs to know of whoever acts."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def surface(self) -> str: ...
    @property
    def address(self) -> str: ...


def detail_hash(salt: bytes, name: str, value: str) -> str:
    """Return the commitment to one detail: SHA-256 over salt, name and value, each part set off by a zero byte."""
    return hashlib.sha256(salt + b"\0" + name.encode() + b"\0" + value.encode()).hexdigest()


def leaf_hash(entry: Entry) -> str:
    """Return the RFC 9162 leaf hash (prefix 0x00) over every column of the entry but the hash itself."""
    columns = {
        "id": entry.id,
        "xid": str(entry.xid),
        "at": entry.at.isoformat(timespec="microseconds"),
        "actor_kind": entry.actor_kind,
        "actor_id": entry.actor_id,
        "surface": entry.surface,
        "action": entry.action,
        "connection": entry.connection,
        "message": str(entry.message) if entry.message else None,
        "fingerprint": entry.fingerprint,
        "trace": entry.trace,
        "detail_hashes": entry.detail_hashes,
    }
    return hashlib.sha256(b"\0" + canonical_json(columns)).hexdigest()


def _next_place() -> tuple[int, int, datetime]:
    with database.cursor() as cursor:
        cursor.execute("SELECT nextval('audit_entry_id_seq'), pg_current_xact_id()::text, clock_timestamp()")
        entry_id, xid, at = cursor.fetchone()
    return entry_id, int(xid), at


def record(
    action: str,
    *,
    actor: ActorLike,
    connection: int | None = None,
    message: uuid.UUID | None = None,
    fingerprint: str = "",
    details: Mapping[str, str] | None = None,
) -> Entry:
    """Append one entry, in the caller's transaction, and tell the listeners.

    `details` are personal or free text by name; empty ones are left out. Raises ValueError for an action that is not
    registered, and refuses to run outside a transaction, where an act and its entry could come apart.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is not registered in audit.actions")
    if not database.in_atomic_block:
        raise transaction.TransactionManagementError("audit.record() must run in the transaction of the act")
    fields = {"actor": actor.label, "address": actor.address, **(details or {})}
    fields = {name: text.replace("\0", "\ufffd") for name, text in fields.items() if text}
    salt = os.urandom(16)
    entry_id, xid, at = _next_place()
    entry = Entry(
        id=entry_id,
        xid=xid,
        at=at,
        actor_kind=actor.kind,
        actor_id=actor.id,
        surface=actor.surface,
        action=action,
        connection=connection,
        message=message,
        fingerprint=fingerprint,
        trace=trace_id.get(),
        detail_hashes={name: detail_hash(salt, name, text) for name, text in fields.items()},
    )
    entry.leaf_hash = leaf_hash(entry)
    entry.save(force_insert=True)
    EntryDetail.objects.create(entry=entry, salt=salt, fields=fields)
    recorded.send(sender=Entry, entry=entry, details=fields)
    return entry
