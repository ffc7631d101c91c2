"""Makes ledger bundles and proofs that tests alter, to see whether the verifier
notices.

Written after docs/ledger.md, with none of the product's code, so that both check each
other.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

AT = "2026-11-21T02:04:33.{:06d}+00:00"
MESSAGE = "0193b0c0-0000-7000-8000-000000000001"
FILES = ("manifest.json", "seals.jsonl", "entries.jsonl", "details.jsonl")


def canonical(value):
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def entry_hash(entry):
    return sha256(canonical(entry))


def batch_hash(entries):
    return sha256(b"".join(bytes.fromhex(entry_hash(entry)) for entry in entries))


def raw(key):
    return key.public_key().public_bytes_raw().hex()


def fingerprint(key):
    number = int(sha256(bytes.fromhex(key))[:15], 16)
    signs = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    digits = "".join(
        signs[int(f"{number:060b}"[position : position + 5], 2)]
        for position in range(0, 60, 5)
    )
    return f"{digits[:4]}-{digits[4:8]}-{digits[8:]}"


@dataclass
class Book:
    """A small ledger. A test may alter its entries, details and seals before it writes
    the files.
    """

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    entries: list[dict[str, Any]] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    seals: list[dict[str, Any]] = field(default_factory=list)
    # Values of manifest.json that differ from those that follow from the rest.
    manifest: dict[str, Any] = field(default_factory=dict)
    next_number: int = 1
    next_xid: int = 700

    @property
    def size(self):
        """How many entries are sealed."""
        return self.seals[-1]["size"] if self.seals else 0

    def write(self, number=1, fields=None, **says):
        """Append this many entries, each with its own transaction id. `says` replaces
        values of the entry.
        """
        for _ in range(number):
            salt = bytes([self.next_number % 256] * 16)
            texts = fields or {"actor": "Ana", "reason": f"“ {self.next_number}\n"}
            entry = {
                "id": self.next_number,
                "xid": str(self.next_xid),
                "at": AT.format(self.next_number),
                "actor_kind": "person",
                "actor_id": "7",
                "surface": "web",
                "action": "message.opened",
                "connection": None,
                "message": None,
                "fingerprint": "",
                "trace": "",
                "mac": "ab" * 32,
                "detail_hashes": {
                    name: sha256(salt + b"\0" + name.encode() + b"\0" + text.encode())
                    for name, text in texts.items()
                },
                **says,
            }
            self.entries.append(entry)
            self.details.append(
                {
                    "id": entry["id"],
                    "hash": entry_hash(entry),
                    "salt": salt.hex(),
                    "fields": dict(texts),
                }
            )
            self.next_number += 1
            self.next_xid += 1

    def seal(self, *, key=None, **says):
        """Seal all entries that have no seal. `says` replaces values of the seal."""
        before = self.seals[-1] if self.seals else None
        self.key = key or self.key
        batch = self.entries[self.size :]
        end = (
            (batch[-1]["xid"], batch[-1]["id"])
            if batch
            else (before["end_xid"], before["end_id"])
            if before
            else None
        )
        made = {
            "v": 2,
            "number": len(self.seals) + 1,
            "kind": "seal",
            "epoch": before["epoch"] if before else 1,
            "count": len(batch),
            "size": len(self.entries),
            "entries": batch_hash(batch),
            "previous": seal_hash(before) if before else "",
            "end_xid": end[0] if end else "0",
            "end_id": end[1] if end else 0,
            "after_id": before["after_id"] if before else 0,
            "cluster": "7300000000000000001",
            "at": AT.format(len(self.seals)),
            "next_key": "",
            "note": "",
            **says,
        }
        self.seals.append(sign(made, self.key))
        return self.seals[-1]

    def change_key(self):
        """Append a seal that announces a new key, which signs from now on."""
        after = Ed25519PrivateKey.generate()
        self.seal(kind="key", next_key=raw(after))
        self.key = after

    def restore(self, **says):
        """Append a seal that begins a new epoch, as after a restored backup, in which
        transaction ids start again.
        """
        self.next_xid = 300
        last = self.next_number - 1
        begin = {"end_xid": str(self.next_xid), "end_id": last, "after_id": last}
        self.seal(
            **{
                "kind": "restored",
                "epoch": self.seals[-1]["epoch"] + 1,
                "note": "disk lost",
                **begin,
                **says,
            }
        )
        self.next_xid += 1

    def files(self):
        """The files of the bundle, as bytes by name."""
        manifest = {
            "v": 2,
            "product": "Countersign",
            "version": "1",
            "made_at": AT.format(999_999),
            "entries": len(self.entries),
            "seals": len(self.seals),
            "size": self.size,
            "last": seal_hash(self.seals[-1]) if self.seals else "",
            "unsealed": max(0, len(self.entries) - self.size),
            "details": "included",
            **self.manifest,
        }
        return {
            "entries.jsonl": b"".join(
                canonical(entry) + b"\n" for entry in self.entries
            ),
            "details.jsonl": b"".join(
                canonical(detail) + b"\n" for detail in self.details
            ),
            "seals.jsonl": b"".join(canonical(seal) + b"\n" for seal in self.seals),
            "manifest.json": canonical(manifest),
        }

    def write_to(self, folder, **instead):
        """Write the files to a folder. `entries_jsonl=...` replaces entries.jsonl."""
        folder.mkdir(parents=True)
        for name, data in self.files().items():
            (folder / name).write_bytes(instead.get(name.replace(".", "_"), data))
        return folder

    def proof(self, message=MESSAGE):
        """Return the proof of one message."""
        batches = []
        begin = 0
        for seal in self.seals:
            batch = range(begin, seal["size"])
            begin = seal["size"]
            entries = [
                {
                    "index": position - batch[0],
                    "entry": canonical(self.entries[position]).decode(),
                    "salt": self.details[position]["salt"],
                    "fields": dict(self.details[position]["fields"]),
                }
                for position in batch
                if self.entries[position]["message"] == message
            ]
            if entries:
                hashes = [entry_hash(self.entries[position]) for position in batch]
                batches.append(
                    {"seal": dict(seal), "hashes": hashes, "entries": entries}
                )
        about = json.loads(batches[-1]["entries"][-1]["entry"])
        waiting = [
            entry["id"]
            for entry in self.entries[self.size :]
            if entry["message"] == message
        ]
        return {
            "v": 2,
            "kind": "message",
            "product": "Countersign",
            "made_at": AT.format(999_999),
            "message": message,
            "about": {
                "action": about["action"],
                "actor": f"{about['actor_kind']} {about['actor_id']}",
                "at": about["at"],
                "entry": about["id"],
            },
            "batches": batches,
            "not_sealed": waiting,
        }


def signed_bytes(seal):
    return b"countersign seal v2\n" + canonical(
        {name: value for name, value in seal.items() if name != "signature"}
    )


def sign(seal, key, **says):
    """Return a seal signed with `key`, which it names. `says` replaces its values."""
    made = {**seal, "key": raw(key), **says}
    return {**made, "signature": key.sign(signed_bytes(made)).hex()}


def seal_hash(seal):
    return sha256(signed_bytes(seal) + bytes.fromhex(seal["signature"]))


def book(*turns, unsealed=0):
    """Return a ledger with batches of these sizes, each sealed, and entries after them
    that are not sealed.
    """
    made = Book()
    for number in turns:
        made.write(number)
        made.seal()
    made.write(unsealed)
    return made
