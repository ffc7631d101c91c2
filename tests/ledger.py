"""Appends to the ledger and checks its seals, for tests. A check of its own: it shares no code with the product's."""

import base64
import hashlib
import json
import os
from contextlib import contextmanager
from datetime import UTC
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import connection, transaction
from django.test import override_settings

from audit.models import Entry, Seal, SealedEntry
from audit.recording import record
from audit.sealing.batch import Batch
from audit.sealing.preconditions import check_end, latest_seal, read_database_state
from audit.verification.database import check_database
from common.actors import worker

ACTOR = worker("test")


def new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def append(number: int = 1, **says: Any) -> list[Entry]:
    """Append so many entries, each in a transaction of its own."""
    made = []
    for _ in range(number):
        with transaction.atomic():
            made.append(record("message.opened", actor=ACTOR, details={"reason": "tested"}, **says))
    return made


def seal_here(**of: Any) -> Seal:
    """Seal what there is of this, within the test's own transaction, which no horizon of the sealer would let in."""
    with override_settings(SEAL_KEYS=[base64.urlsafe_b64encode(bytes(range(32))).decode()]):
        last = latest_seal()
        check_end(last)
        batch = Batch(last)
        known = SealedEntry.objects.values("entry")
        batch.take(list(Entry.objects.filter(**of).exclude(pk__in=known).order_by("xid", "id")))
        return batch.seal(read_database_state())


@contextmanager
def another_session(**options: Any):
    """A session beside the application's, as its own role."""
    settings = connection.get_connection_params()
    keep = {name: settings[name] for name in ("dbname", "user", "password", "host", "port") if settings.get(name)}
    with psycopg.connect(**keep, **options) as session:
        yield session


def as_superuser(sql: str, parameters: Any = ()) -> None:
    """Alter the database beneath the application, past every trigger. Tests are its owner, and a superuser."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = 'replica'")
        cursor.execute(sql, parameters)


def batch_hash(hashes: list[bytes]) -> str:
    return hashlib.sha256(b"".join(hashes)).hexdigest()


def check_chain() -> list[Seal]:
    """Check every seal from the first: numbers, links, keys, signatures, and the batch under each."""
    sealed = list(SealedEntry.objects.order_by("position"))
    assert [one.position for one in sealed] == list(range(len(sealed)))
    entries = Entry.objects.in_bulk([one.entry for one in sealed])
    hashes = [bytes.fromhex(entries[one.entry].hash) for one in sealed]
    assert [bytes(one.hash) for one in sealed] == hashes
    previous, size, epoch, key, end = "", 0, 1, None, (0, 0)
    seals = list(Seal.objects.order_by("number"))
    for number, seal in enumerate(seals, start=1):
        signed_fields = {
            **{name: getattr(seal, name) for name in ("number", "kind", "epoch", "count", "size", "entries")},
            **{name: getattr(seal, name) for name in ("previous", "end_id", "after_id", "cluster")},
            **{name: getattr(seal, name) for name in ("key", "next_key", "note")},
            "v": 2,
            "end_xid": str(seal.end_xid),
            "at": seal.at.astimezone(UTC).isoformat(timespec="microseconds"),
        }
        text = json.dumps(signed_fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        signed = b"countersign seal v2\n" + text.encode()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(seal.key)).verify(bytes.fromhex(seal.signature), signed)
        assert (seal.number, seal.previous) == (number, previous)
        assert seal.epoch == epoch + (seal.kind == "restored")
        assert key in (None, seal.key) or (seal.kind == "restored" and seal.note)
        assert seal.size == size + seal.count
        assert seal.entries == batch_hash(hashes[size : seal.size])
        new = [entries[one.entry] for one in sealed[size : seal.size]]
        assert [one.seal for one in sealed[size : seal.size]] == [number] * seal.count
        order = [(entry.xid, entry.pk) for entry in new]
        assert order == sorted(order)
        if seal.kind == "seal":
            assert end < order[0]
            assert order[-1] == (seal.end_xid, seal.end_id)
            assert seal.count <= 1000
            assert all(entry.pk > seal.after_id for entry in new)
        previous = hashlib.sha256(signed + bytes.fromhex(seal.signature)).hexdigest()
        size, epoch, key, end = seal.size, seal.epoch, seal.next_key or seal.key, (seal.end_xid, seal.end_id)
    assert size == len(sealed)
    # What an auditor is told agrees.
    if findings := check_database().findings:
        raise AssertionError(findings)
    return seals
