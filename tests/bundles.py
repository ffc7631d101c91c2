"""Makes bundles by hand, after docs/ledger.md and with none of the product's code, to alter them and see it found."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

AT = "2026-11-21T02:04:33.{:06d}+00:00"


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def leaf_of(entry: dict[str, Any]) -> bytes:
    return hashlib.sha256(b"\0" + canonical(entry)).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162, section 2.1.1, and nothing else."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + root_of(leaves[:half]) + root_of(leaves[half:])).digest()


def path_of(first: int, leaves: list[bytes], *, known: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162, section 2.1.4.1."""
    if first == len(leaves):
        return [] if known else [root_of(leaves)]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    if first <= half:
        return [*path_of(first, leaves[:half], known=known), root_of(leaves[half:])]
    return [*path_of(first - half, leaves[half:], known=False), root_of(leaves[:half])]


def proof_nodes(wanted: set[int], leaves: list[bytes], start: int = 0) -> list[tuple[int, int, str]]:
    """The nodes of a proof, each as level, index and hash."""
    end = start + len(leaves)
    level = (len(leaves) - 1).bit_length()
    if not any(start <= position < end for position in wanted):
        return [(level, start >> level, root_of(leaves).hex())]
    if len(leaves) == 1:
        return []
    half = 1 << (level - 1)
    return proof_nodes(wanted, leaves[:half], start) + proof_nodes(wanted, leaves[half:], start + half)


def raw(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def fingerprint(key: str) -> str:
    number = int(hashlib.sha256(bytes.fromhex(key)).hexdigest()[:15], 16)
    signs = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    digits = "".join(signs[int(f"{number:060b}"[position : position + 5], 2)] for position in range(0, 60, 5))
    return f"{digits[:4]}-{digits[4:8]}-{digits[8:]}"


@dataclass
class Book:
    """A small ledger: what it holds may be altered before it is written."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    entries: list[dict[str, Any]] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    seals: list[dict[str, Any]] = field(default_factory=list)
    # Where it is not what the rest makes it.
    manifest: dict[str, Any] = field(default_factory=dict)
    next_number: int = 1
    next_xid: int = 700

    def write(self, number: int = 1, **says: Any) -> None:
        """Append entries, each of a transaction of its own."""
        for _ in range(number):
            salt = bytes([self.next_number % 256] * 16)
            # Every second one needs an escape, and is checked in another way.
            fields = {"actor": "Ana", "reason": f"“ {self.next_number}" + "\n" * (self.next_number % 2 == 0)}
            hashes = {
                name: hashlib.sha256(salt + b"\0" + name.encode() + b"\0" + text.encode()).hexdigest()
                for name, text in fields.items()
            }
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
                "detail_hashes": hashes,
                **says,
            }
            self.entries.append(entry)
            self.details.append(
                {"id": self.next_number, "leaf": leaf_of(entry).hex(), "salt": salt.hex(), "fields": fields}
            )
            self.next_number += 1
            self.next_xid += 1

    def leaves(self, size: int | None = None) -> list[bytes]:
        return [leaf_of(entry) for entry in self.entries[:size]]

    def seal(self, *, key: Ed25519PrivateKey | None = None, **says: Any) -> dict[str, Any]:
        """Seal everything that was appended."""
        before = self.seals[-1] if self.seals else None
        self.key = key or self.key
        made = {
            "v": 1,
            "number": len(self.seals) + 1,
            "kind": "seal",
            "epoch": before["epoch"] if before else 1,
            "size": len(self.entries),
            "root": root_of(self.leaves()).hex(),
            "previous": head_hash(before) if before else "",
            "horizon": str(self.next_xid),
            "after_id": before["after_id"] if before else 0,
            "cluster": "7300000000000000001",
            "at": AT.format(len(self.seals)),
            "next_key": "",
            "note": "",
            **says,
        }
        self.seals.append(sign(made, self.key))
        return self.seals[-1]

    def change_key(self) -> None:
        after = Ed25519PrivateKey.generate()
        self.seal(kind="key", next_key=raw(after), horizon=self.seals[-1]["horizon"])
        self.key = after

    def restore(self, **says: Any) -> None:
        """Seal what is there, and begin an epoch in which transactions count from the beginning."""
        self.next_xid = 300
        epoch, last = self.seals[-1]["epoch"] + 1, self.next_number - 1
        self.seal(**{"kind": "restored", "epoch": epoch, "after_id": last, "note": "disk lost", **says})

    def files(self) -> dict[str, bytes]:
        """The files of the bundle."""
        keys: list[dict[str, Any]] = []
        for seal in self.seals:
            if not keys or keys[-1]["key"] != seal["key"]:
                one = {"key": seal["key"], "fingerprint": fingerprint(seal["key"]), "first_seal": seal["number"]}
                keys.append(one)
        last = self.seals[-1] if self.seals else {"size": 0, "root": root_of([]).hex()}
        manifest = {
            "v": 1,
            "product": "Countersign",
            "version": "1",
            "made_at": AT.format(999_999),
            "entries": len(self.entries),
            "seals": len(self.seals),
            "size": last["size"],
            "root": last["root"],
            "unsealed": len(self.entries) - last["size"],
            **self.manifest,
        }
        return {
            "entries.jsonl": b"".join(canonical(entry) + b"\n" for entry in self.entries),
            "details.jsonl": b"".join(canonical(detail) + b"\n" for detail in self.details),
            "seals.jsonl": b"".join(canonical(seal) + b"\n" for seal in self.seals),
            "manifest.json": canonical(manifest),
            "keys.json": canonical({"keys": keys}),
        }

    def write_to(self, folder: Path, **instead: bytes) -> Path:
        """Write the files, some of them with other content: `entries_jsonl=...`."""
        folder.mkdir(parents=True)
        for name, data in self.files().items():
            (folder / name).write_bytes(instead.get(name.replace(".", "_"), data))
        return folder


def sign(seal: dict[str, Any], key: Ed25519PrivateKey, **says: Any) -> dict[str, Any]:
    """Sign what a seal says, with a key that it then names."""
    signed = {name: value for name, value in {**seal, "key": raw(key), **says}.items() if name != "signature"}
    return {**signed, "signature": key.sign(b"countersign seal v1\n" + canonical(signed)).hex()}


def head_hash(seal: dict[str, Any]) -> str:
    signed_fields = {name: value for name, value in seal.items() if name != "signature"}
    signed = b"countersign seal v1\n" + canonical(signed_fields)
    return hashlib.sha256(signed + bytes.fromhex(seal["signature"])).hexdigest()


def book(*turns: int, unsealed: int = 0) -> Book:
    """Return a ledger with a seal after each so many entries."""
    made = Book()
    for number in turns:
        made.write(number)
        made.seal()
    made.write(unsealed)
    return made
