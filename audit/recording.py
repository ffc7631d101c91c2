"""The one way to write the ledger. Whoever wants to know that something happened listens to `recorded`."""

import hashlib
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db import connection as database
from django.db import transaction
from django.dispatch import Signal

from audit import macs
from audit.actions import ACTIONS
from audit.appending import append
from audit.models import Entry, EntryDetail
from common.fingerprint import canonical_json
from common.logs import trace_id
from common.postgres.rows import insert, run, together
from common.words import BY, LETTER, TO, vector, words_of, words_of_address

NOTHING = "nothing"

# Sent inside the transaction that wrote the entry, with `entry`, `details` and `about`: the row of what the entry is
# about where the caller has it, as it is now, so that nobody has to read it again. Receivers that may fail use a
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
    @property
    def proof(self) -> tuple[tuple[str, str], ...]: ...


def detail_hash(salt: bytes, name: str, value: str) -> str:
    """Return the commitment to one detail: SHA-256 over salt, name and value, each part set off by a zero byte."""
    return hashlib.sha256(salt + b"\0" + name.encode() + b"\0" + value.encode()).hexdigest()


def canonical_entry(entry: Any) -> bytes:
    """Return every column of the entry but its hash as the one text that is hashed, handed out and checked."""
    place = {"id": entry.id, "xid": str(entry.xid), "at": entry.at.isoformat(timespec="microseconds")}
    return canonical_json(macs.authenticated_columns(entry) | place | ({"mac": entry.mac} if entry.mac else {}))


def leaf_hash(entry: Entry) -> str:
    """Return the RFC 9162 leaf hash (prefix 0x00) of the entry."""
    return hashlib.sha256(b"\0" + canonical_entry(entry)).hexdigest()


@dataclass(frozen=True)
class Place:
    """A place in the ledger: its number, the transaction it belongs to, and the database's time."""

    number: int
    xid: int
    at: datetime


# The id of the transaction comes first: a restore waits for all that may have taken a number by then.
_RESERVE = """
SELECT pg_current_xact_id()::text AS xid, nextval('audit_entry_id_seq') AS number, clock_timestamp() AS at
"""


class ReservedPlace:
    """A place that was asked for together with other statements; it can be taken once those have been answered."""

    def __init__(self) -> None:
        self._answer = run(_RESERVE)
        self._place: Place | None = None

    def take(self) -> Place:
        """Return the place."""
        if self._place is None:
            xid, number, at = self._answer.row()
            self._place = Place(number=number, xid=int(xid), at=at)
        return self._place


def reserve(number: int) -> list[Place]:
    """Reserve so many places, one after the other, in one round trip."""
    with together():
        reserved = [ReservedPlace() for _ in range(number)]
    return [one.take() for one in reserved]


# Details that name people: found by `by:` and `to:` as well as by their words.
_BY = ("actor", "trigger.")
_TO = ("recipients", "to", "cc", "bcc")
# Of a long text its beginning is found.
_LONGEST = 2000


def found_by(fields: Mapping[str, str], about: Any = None, words: Iterable[tuple[str, str]] = ()) -> str:
    """Return the words that an entry is found by: those of its details, and those of the message that it is about.

    They are pairs of a label and a text: subject and recipients, so that every act on a message is found by them. The
    row that an entry is about gives them by `ledger_words()` where it can.
    """
    pairs = [*((_label(name), text) for name, text in fields.items()), *words]
    if about is not None and hasattr(about, "ledger_words"):
        pairs += about.ledger_words()
    return vector((label, _words(label, text[:_LONGEST])) for label, text in pairs)


def _label(name: str) -> str:
    return TO if name in _TO else BY if name.startswith(_BY) else LETTER


def _words(label: str, text: str) -> Iterable[str]:
    if "@" not in text:
        return words_of(text)
    parts = text.replace(",", " ").replace(";", " ").split()
    return [word for part in parts for word in (words_of_address if "@" in part else words_of)(part)]


def changed(*, before: str, after: str) -> dict[str, str]:
    """Return the two details that tell how something was set and how it is set now; what was added was nothing."""
    return {"before": before or NOTHING, "after": after or NOTHING}


def record(
    action: str,
    *,
    actor: ActorLike,
    connection: int | None = None,
    message: uuid.UUID | None = None,
    fingerprint: str = "",
    details: Mapping[str, str] | None = None,
    about: Any = None,
    words: Iterable[tuple[str, str]] = (),
    place: Place | None = None,
    outcome: str = "",
    removes: Sequence[int] = (),
) -> Entry:
    """Append one entry, in the caller's transaction, and tell the listeners.

    `details` are personal or free text by name; empty ones are left out. `outcome` is one word that stays when they are
    removed. `about` is the row that the entry tells of, for the listeners. `words` are what it is found by besides:
    `ledger_words()` of the message. A `place` reserved in this transaction saves a round trip. `removes` are entries
    whose details go with this one, which names them in its detail `numbers`.

    Raises ValueError for an action that is not registered, and TransactionManagementError outside a transaction.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is not registered in audit.actions")
    if not database.in_atomic_block:
        raise transaction.TransactionManagementError("audit.record() must run in the transaction of the act")
    fields = _fields_of(actor, details or {})
    salt = os.urandom(16)
    entry = Entry(
        actor_kind=actor.kind,
        actor_id=actor.id,
        surface=actor.surface,
        action=action,
        connection=connection,
        message=message,
        fingerprint=fingerprint,
        trace=trace_id.get(),
        detail_hashes={name: detail_hash(salt, name, text) for name, text in fields.items()},
        outcome=outcome,
    )
    entry.mac = macs.mac_of(entry)
    found = found_by(fields, about, words)
    if place:
        _insert_at(place, entry, EntryDetail(salt=salt, fields=fields, words=found))
    else:
        append(entry, salt=salt, fields=fields, words=found, removes=removes)
    recorded.send(sender=Entry, entry=entry, details=fields, about=about)
    return entry


def _fields_of(actor: ActorLike, details: Mapping[str, str]) -> dict[str, str]:
    # Never without a detail: its salt makes each entry unlike all others, and the sealer refuses a repeated one.
    fields = {"actor": actor.label or actor.kind, "address": actor.address, **dict(actor.proof), **details}
    return {name: text.replace("\0", "\ufffd") for name, text in fields.items() if text}


def _insert_at(place: Place, entry: Entry, detail: EntryDetail) -> None:
    entry.id, entry.xid, entry.at = place.number, place.xid, place.at
    entry.leaf_hash = leaf_hash(entry)
    detail.entry = entry
    with together():
        insert(entry)
        insert(detail)
