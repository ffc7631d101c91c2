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

from audit.models import Entry, Leaf, Seal
from audit.recording import leaf_hash, mac_of, record
from audit.sealing.growth import Growth
from audit.sealing.preconditions import check_base, latest_seal, read_database_state
from audit.verification.database import check_database
from people.actors import worker

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


def seal_here(between: int = 0, **of: Any) -> Seal:
    """Seal what there is of this, within the test's own transaction, which no horizon of the sealer would let in.

    `between`: so many leaves of entries that are not there stand behind each.
    """
    with override_settings(SEAL_KEYS=[base64.urlsafe_b64encode(bytes(range(32))).decode()]):
        growth = Growth(check_base(latest_seal()))
        known = Leaf.objects.values("entry")
        for entry in Entry.objects.filter(**of).exclude(pk__in=known).order_by("xid", "id"):
            growth.take([[entry, *_strangers(entry, between)]])
        facts = read_database_state()
        return growth.seal(facts, horizon=facts.horizon)


def _strangers(entry: Entry, number: int) -> list[Entry]:
    made = [
        Entry(id=number, xid=entry.xid, at=entry.at, actor_kind="person", action="message.opened", trace=str(number))
        for number in range(entry.pk * 10**6, entry.pk * 10**6 + number)
    ]
    for one in made:
        one.mac = mac_of(one)
        one.leaf_hash = leaf_hash(one)
    return made


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


def root_of(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + root_of(leaves[:half]) + root_of(leaves[half:])).digest()


def check_chain() -> list[Seal]:
    """Check every seal from the first: numbers, links, keys, signatures, roots, and what is under each."""
    leaves = list(Leaf.objects.order_by("position"))
    assert [leaf.position for leaf in leaves] == list(range(len(leaves)))
    entries = Entry.objects.in_bulk([leaf.entry for leaf in leaves])
    hashes = [bytes.fromhex(entries[leaf.entry].leaf_hash) for leaf in leaves]
    assert [bytes(leaf.hash) for leaf in leaves] == hashes
    previous, size, epoch, key = "", 0, 1, None
    seals = list(Seal.objects.order_by("number"))
    for number, seal in enumerate(seals, start=1):
        signed_fields = {
            **{name: getattr(seal, name) for name in ("number", "kind", "epoch", "size", "root", "previous")},
            **{name: getattr(seal, name) for name in ("after_id", "cluster", "key", "next_key", "note")},
            "v": 1,
            "horizon": str(seal.horizon),
            "at": seal.at.astimezone(UTC).isoformat(timespec="microseconds"),
        }
        text = json.dumps(signed_fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        signed = b"countersign seal v1\n" + text.encode()
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(seal.key)).verify(bytes.fromhex(seal.signature), signed)
        assert (seal.number, seal.previous) == (number, previous)
        assert seal.epoch == epoch + (seal.kind == "restored")
        assert key in (None, seal.key) or (seal.kind == "restored" and seal.note)
        assert seal.root == root_of(hashes[: seal.size]).hex()
        new = [entries[leaf.entry] for leaf in leaves[size : seal.size]]
        assert [leaf.seal for leaf in leaves[size : seal.size]] == [number] * (seal.size - size)
        assert new == sorted(new, key=lambda entry: (entry.xid, entry.pk))
        if seal.kind == "seal":
            assert all(entry.xid < seal.horizon and entry.pk > seal.after_id for entry in new)
        previous = hashlib.sha256(signed + bytes.fromhex(seal.signature)).hexdigest()
        size, epoch, key = seal.size, seal.epoch, seal.next_key or seal.key
    assert size == len(leaves)
    # What an auditor is told agrees.
    if findings := check_database().findings:
        raise AssertionError(findings)
    return seals
