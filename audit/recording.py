"""Writes entries to the ledger: `record` is the only way to add one. It computes the
entry's hashes and search words, and notifies receivers of the signal `recorded`.

The hash covers number, transaction id and time of the entry, which only the database
can give, so these are read before the entry is inserted.
"""

import hashlib
import hmac
import os
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.dispatch import Signal

from audit.actions import ACTIONS
from audit.models import Entry, EntryDetail
from common.actors import Actor
from common.fingerprint import canonical_json
from common.logs import trace_id
from common.words import (
    BY,
    CONTENT,
    MAX_SHORT,
    TO,
    indexed,
    is_full,
    lexemes,
    vector,
    words_of_names,
)

# The stored value of a setting that had no value before, or has none after.
NOTHING = "nothing"

# Sent in the transaction that wrote the entry, with `entry`, `details` and `about`: the
# row that the entry is about, if the caller has it, so that receivers need not read it
# again. A receiver that may fail uses a savepoint: a bug in an alert must not roll back
# a decision.
recorded = Signal()


# --- Positions and hashes -------------------------------------------------------------


def next_position() -> tuple[int, int, datetime]:
    """Take the next number of an entry. Return (number, id of the transaction, time of
    the database).

    In raw SQL, because the ORM can read neither a sequence nor a transaction's id. The
    transaction must get its id before it takes a number: `sealer.begin_epoch` relies on
    that order.
    """
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT pg_current_xact_id()::text, nextval('audit_entry_id_seq'), clock_timestamp()"
        )
        xid, number, at = cursor.fetchone()
    return number, int(xid), at


def last_number() -> int:
    """Return the last number that any transaction has taken. This takes no number, and
    gives the current transaction no id.

    In raw SQL, because the row with that number may not be committed yet.
    """
    with database.cursor() as cursor:
        cursor.execute("SELECT last_value FROM audit_entry_id_seq")
        return int(cursor.fetchone()[0])


def detail_hash(salt: bytes, name: str, value: str) -> str:
    """Return the hash of one detail, which the entry keeps after the detail was
    removed: SHA-256 over salt, name and value, separated by zero bytes.
    """
    return hashlib.sha256(
        salt + b"\0" + name.encode() + b"\0" + value.encode()
    ).hexdigest()


def authenticated_columns(entry: Any) -> dict[str, Any]:
    """Return the columns of an entry whose values come from the desk and not from the
    database; the MAC is computed over these.
    """
    # Written out instead of a loop, for speed: it runs for every entry that is sealed
    # or checked.
    columns = {
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
    # Left out if empty: entries from before this column existed must keep their hashes.
    if entry.outcome:
        columns["outcome"] = entry.outcome
    return columns


def canonical_entry(entry: Any) -> bytes:
    """Return all columns of an entry except its hash as canonical JSON. This text is
    what is hashed, put into proofs and bundles, and checked.
    """
    columns = authenticated_columns(entry)
    columns["id"] = entry.id
    columns["xid"] = str(entry.xid)
    columns["at"] = entry.at.isoformat(timespec="microseconds")
    if entry.mac:
        columns["mac"] = entry.mac
    return canonical_json(columns)


def entry_hash(entry: Any) -> str:
    """Return the hash of the entry, computed from its other columns."""
    return hashlib.sha256(canonical_entry(entry)).hexdigest()


def mac_of(entry: Any, key: str) -> str:
    """Return the message authentication code of an entry: HMAC-SHA256, in hex. `key` is
    SECRET_KEY, or a former one.

    It shows the sealer that the desk wrote the entry: somebody who can only insert rows
    into the database does not have SECRET_KEY. It covers the columns of
    `authenticated_columns`, so not the entry's number, transaction and time. After a
    change of SECRET_KEY, the old one has to stay in SECRET_KEY_FALLBACKS until the
    entries written with it are sealed.
    """
    derived = hashlib.sha256(b"countersign entry v1\n" + key.encode()).digest()
    return hmac.digest(
        derived, canonical_json(authenticated_columns(entry)), "sha256"
    ).hex()


def is_authentic(entry: Any) -> bool:
    """Whether the MAC of an entry was made by the desk, with a present or former key."""
    return any(
        hmac.compare_digest(mac_of(entry, key).encode(), entry.mac.encode())
        for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    )


# --- Words that an entry is found by --------------------------------------------------

# Names (or beginnings of names) of details that name people: the search finds them with
# `by:` and `to:`, and also as ordinary words.
_BY = ("actor", "decided_by", "trigger.")
_TO = ("recipients", "to", "cc", "bcc")


def found_by(fields: Mapping[str, str], words: Iterable[tuple[str, str]] = ()) -> str:
    """Return the search words of an entry, in the form of a tsvector: those of its
    details (`fields`), and further `words`, as pairs of a label and a text.
    """
    details = ((_label(name), text) for name, text in fields.items())
    return vector(indexed([*details, *words]))


def are_found_by(stored: str, fields: Mapping[str, str]) -> bool:
    """Whether the stored search words have every word of these details. They may have
    more: those of the message. If they are as many as fit, words may be missing.
    """
    labels_by_word = lexemes(stored)
    return is_full(labels_by_word) or all(
        _label(name) in labels_by_word.get(word, set())
        for name, text in fields.items()
        for word in words_of_names(text[:MAX_SHORT])
    )


# Cached: entries have the same few names of details.
@lru_cache(maxsize=1024)
def _label(name: str) -> str:
    if name in _TO:
        return TO
    return BY if name.startswith(_BY) else CONTENT


# --- Recording ------------------------------------------------------------------------


def record(
    action: str,
    actor: Actor,
    *,
    connection: int | None = None,
    message: uuid.UUID | None = None,
    fingerprint: str = "",
    details: Mapping[str, str] | None = None,
    about: Any = None,
    words: Iterable[tuple[str, str]] = (),
    outcome: str = "",
) -> Entry:
    """Append one entry, in the caller's transaction, and notify the listeners.

    `details` are personal or free texts by name, which can be removed later. Empty ones
    are left out, except `before` and `after`, which are stored as "nothing". `outcome`
    is one word that is never removed. `about` is the row that the entry is about, for
    the listeners. `words` are further search words, such as the message's
    `ledger_words()`.

    Raises ValueError for an action that is not registered, and
    TransactionManagementError outside a transaction.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is not registered in audit.actions")
    if not database.in_atomic_block:
        raise transaction.TransactionManagementError(
            "audit.record() must run in the transaction of the act"
        )
    # Every entry has at least the detail `actor`: the salt makes its hash, and so the
    # MAC, unique, and the sealer refuses a repeated MAC.
    fields = {"actor": actor.label or actor.kind, "address": actor.address}
    fields |= dict(actor.proof)
    fields |= details or {}
    for side in ("before", "after"):
        if side in fields:
            fields[side] = fields[side] or NOTHING
    fields = {
        name: text.replace("\0", "\ufffd") for name, text in fields.items() if text
    }
    salt = os.urandom(16)
    number, xid, at = next_position()
    entry = Entry(
        id=number,
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
        detail_hashes={
            name: detail_hash(salt, name, text) for name, text in fields.items()
        },
        outcome=outcome,
    )
    entry.mac = mac_of(entry, settings.SECRET_KEY)
    entry.hash = entry_hash(entry)
    entry.save(force_insert=True)
    entry.details = fields
    EntryDetail.objects.create(
        entry_id=entry.pk, salt=salt, fields=fields, words=found_by(fields, words)
    )
    recorded.send(sender=Entry, entry=entry, details=fields, about=about)
    return entry
