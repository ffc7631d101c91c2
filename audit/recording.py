"""Writes the ledger; nothing else does. Receivers of the signal `recorded` are notified
of each entry.

The hash covers number, transaction and time, which only the database knows, so they are
asked for first.
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
from common.words import BY, CONTENT, TO, lexemes, vector, words_of, words_of_address

NOTHING = "nothing"

# Sent inside the transaction that wrote the entry, with `entry`, `details` and `about`:
# the row of what the entry is about where the caller has it, as it is now, so that
# nobody has to read it again. Receivers that may fail use a savepoint of their own: a
# mistake in an alert must never cost a decision.
recorded = Signal()


# --- Positions and hashes -------------------------------------------------------------


def next_position() -> tuple[int, int, datetime]:
    """Take the next number; return it with the id of the transaction and the database's
    time. By SQL of its own: no row has a sequence's next value, or the transaction's
    id.

    The id of the transaction comes first: a restore waits for all that may have taken a
    number by then.
    """
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT pg_current_xact_id()::text, nextval('audit_entry_id_seq'), clock_timestamp()"
        )
        xid, number, at = cursor.fetchone()
    return number, int(xid), at


def last_number() -> int:
    """Return the last number that was taken, by whomever. It takes none, and gives the
    transaction no id.

    By SQL of its own: the row of a number that was taken may not be committed yet, so
    no query sees it.
    """
    with database.cursor() as cursor:
        cursor.execute("SELECT last_value FROM audit_entry_id_seq")
        return int(cursor.fetchone()[0])


def detail_hash(salt: bytes, name: str, value: str) -> str:
    """Return the commitment to one detail: SHA-256 over salt, name and value, separated
    by zero bytes.
    """
    return hashlib.sha256(
        salt + b"\0" + name.encode() + b"\0" + value.encode()
    ).hexdigest()


def authenticated_columns(entry: Any) -> dict[str, Any]:
    """Return the columns that the desk, not the database, gives an entry."""
    # Written out: it is run for every entry that is sealed or checked.
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
    # Older entries have no outcome, and their hashes stay as they are.
    if entry.outcome:
        columns["outcome"] = entry.outcome
    return columns


def canonical_entry(entry: Any) -> bytes:
    """Return every column of the entry but its hash as the one text that is hashed,
    handed out and checked.
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


def mac_of(entry: Any) -> str:
    """Return the message authentication code of an entry: HMAC-SHA256, in hex.

    With it the sealer distinguishes the desk's entries from others that were inserted
    into the database, which never has SECRET_KEY. It covers what the entry says, not
    its position. After a change of SECRET_KEY, the old one has to stay in
    SECRET_KEY_FALLBACKS until the entries written with it are sealed.
    """
    return _mac(entry, settings.SECRET_KEY)


def is_authentic(entry: Any) -> bool:
    """Whether the code of an entry is one that the desk made for it."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(hmac.compare_digest(_mac(entry, key), entry.mac) for key in keys)


def _mac(entry: Any, key: str) -> str:
    derived = hashlib.sha256(b"countersign entry v1\n" + key.encode()).digest()
    return hmac.digest(
        derived, canonical_json(authenticated_columns(entry)), "sha256"
    ).hex()


# --- Words that an entry is found by --------------------------------------------------

# Details that name people: found by `by:` and `to:` as well as by their words.
_BY = ("actor", "trigger.")
_TO = ("recipients", "to", "cc", "bcc")
# Only the beginning of a long text is indexed.
_LONGEST = 2000


def found_by(
    fields: Mapping[str, str], about: Any = None, words: Iterable[tuple[str, str]] = ()
) -> str:
    """Return the words that an entry is found by: those of its details, and those of
    the message that it is about.

    They are pairs of a label and a text: subject and recipients, so that every act on a
    message is found by them. The row that an entry is about gives them by
    `ledger_words()` where it can.
    """
    pairs = [*((_label(name), text) for name, text in fields.items()), *words]
    if about is not None and hasattr(about, "ledger_words"):
        pairs += about.ledger_words()
    return vector((label, _words(text[:_LONGEST])) for label, text in pairs)


def are_found_by(stored: str, fields: Mapping[str, str]) -> bool:
    """Whether the stored words have every word of these details. They may have more:
    those of the message.
    """
    there = lexemes(stored)
    return all(
        _label(name) in there.get(word, set())
        for name, text in fields.items()
        for word in _words(text[:_LONGEST])
    )


# Entries have the same few names.
@lru_cache(maxsize=1024)
def _label(name: str) -> str:
    if name in _TO:
        return TO
    return BY if name.startswith(_BY) else CONTENT


# Many entries have the same ones: actors, addresses, reasons.
@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    if "@" not in text:
        return tuple(words_of(text))
    parts = text.replace(",", " ").replace(";", " ").split()
    return tuple(
        word
        for part in parts
        for word in (words_of_address if "@" in part else words_of)(part)
    )


# --- Recording ------------------------------------------------------------------------


def changed(before: str, after: str) -> dict[str, str]:
    """Return the details with a setting's value before and after; something that was
    added had no value before.
    """
    return {"before": before or NOTHING, "after": after or NOTHING}


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

    `details` are personal or free text by name; empty ones are left out, except
    `before` and `after` of a setting, which are stored as "nothing". `outcome` is one
    word that stays when they are removed. `about` is the row that the entry is about,
    for the listeners. `words` are further words to find it by: `ledger_words()` of the
    message.

    Raises ValueError for an action that is not registered, and
    TransactionManagementError outside a transaction.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is not registered in audit.actions")
    if not database.in_atomic_block:
        raise transaction.TransactionManagementError(
            "audit.record() must run in the transaction of the act"
        )
    # There is always a detail: its salt makes each entry unique, and the sealer refuses
    # a repeated entry.
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
    entry.mac = mac_of(entry)
    entry.hash = entry_hash(entry)
    entry.save(force_insert=True)
    entry.details = fields
    EntryDetail.objects.create(
        entry_id=entry.pk,
        salt=salt,
        fields=fields,
        words=found_by(fields, about, words),
    )
    recorded.send(sender=Entry, entry=entry, details=fields, about=about)
    return entry
