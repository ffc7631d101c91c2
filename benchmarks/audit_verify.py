"""How much longer than bare SHA-256 over the same bytes does the offline verifier take for a million entries?"""

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.verifier import countersign_verify as verifier
from benchmarks.ledger_rows import rows
from benchmarks.result import Figure, Need, Result, sized

# As the sealer makes them under load.
UNDER_A_SEAL = 1000
RUNS = sized(3, smoke=1)
# The verifier is written to be read, and uses one processor.
GOAL, MOST_MEMORY = 0.01, 250.0
FILES = ("entries.jsonl", "details.jsonl", "seals.jsonl")
_HASH = """
import hashlib, sys
for name in sys.argv[1:]:
    digest = hashlib.sha256()
    with open(name, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
"""


def measure() -> Result:
    """Run the verifier and the bare hash as processes, in turn, over one bundle that lies in the disk's cache."""
    with tempfile.TemporaryDirectory(prefix="countersign-bench-") as temporary:
        folder = Path(temporary)
        write_bundle(folder, rows())
        size = sum((folder / name).stat().st_size for name in FILES)
        bare_command = [sys.executable, "-I", "-c", _HASH, *(str(folder / name) for name in FILES)]
        verify_command = [sys.executable, "-I", "-S", verifier.__file__, str(folder)]
        seconds(bare_command)
        durations = [(seconds(bare_command), seconds(verify_command)) for _ in range(RUNS)]
    bare, verified = (statistics.median(times) for times in zip(*durations, strict=True))
    # The largest of all processes that were waited for.
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"verified {rows():,} entries", verified, "s"),
            Figure("that is", rows() / verified, "entries/s"),
            Figure("over", size / 1e6, "MB"),
        ),
        control=Figure("bare SHA-256 over them", bare, "s"),
        ratio=bare / verified,
        goal=GOAL,
        runs=RUNS,
        needs=(Need("memory of a process, MB", memory, MOST_MEMORY, at_most=True),),
    )


def seconds(command: list[str]) -> float:
    """Return how long a command takes by the wall's clock."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def write_bundle(folder: Path, number: int) -> None:
    """Write a bundle with so many entries, each with three details, as a desk at work has them."""
    key = Ed25519PrivateKey.generate()
    hashes: list[bytes] = []
    seals: list[dict[str, Any]] = []
    with (folder / FILES[0]).open("wb") as entries, (folder / FILES[1]).open("wb") as details:
        for entry_number in range(1, number + 1):
            line, listed = _lines(entry_number)
            hashes.append(verifier.entry_hash(line))
            entries.write(line + b"\n")
            details.write(listed.replace(b"HASH", hashes[-1].hex().encode()) + b"\n")
            if entry_number % UNDER_A_SEAL == 0 or entry_number == number:
                seals.append(_seal(hashes, entry_number, seals[-1] if seals else None, key))
                hashes.clear()
    (folder / FILES[2]).write_bytes(b"".join(verifier.canonical(seal) + b"\n" for seal in seals))
    public = key.public_key().public_bytes_raw().hex()
    keys = [{"key": public, "fingerprint": verifier.fingerprint_of(public), "first_seal": 1}]
    (folder / "keys.json").write_text(json.dumps({"keys": keys}))
    manifest = {
        "v": 2,
        "product": "Countersign",
        "version": "0",
        "made_at": "2026-11-21T02:05:00.000000+00:00",
        "entries": number,
        "seals": len(seals),
        "size": number,
        "unsealed": 0,
        "details": "included",
        "last": verifier.Seal(seals[-1]).hash,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _lines(entry_number: int) -> tuple[bytes, bytes]:
    salt = os.urandom(16)
    fields = {
        "actor": f"Person {entry_number % 40}",
        "recipients": f"person{entry_number % 5000}@customer{entry_number % 700}.example",
    }
    fields["subject"] = f"Your refund for order {entry_number // 6}"
    hashes = {name: hashlib.sha256(salt + f"\0{name}\0{text}".encode()).hexdigest() for name, text in fields.items()}
    entry = {
        "id": entry_number,
        "xid": str(700 + entry_number),
        "at": f"2026-11-21T02:04:33.{entry_number % 1_000_000:06d}+00:00",
        "actor_kind": "person",
        "actor_id": str(entry_number % 40),
        "surface": "web",
        "action": "message.served",
        "connection": 1 + entry_number % 3,
        "message": str(uuid.UUID(int=entry_number // 6)),
        "fingerprint": hashlib.sha256(b"%d" % entry_number).hexdigest(),
        "trace": "",
        "detail_hashes": hashes,
    }
    listed = {"id": entry_number, "hash": "HASH", "salt": salt.hex(), "fields": fields}
    return verifier.canonical(entry), verifier.canonical(listed)


def _seal(hashes: list[bytes], last: int, before: dict[str, Any] | None, key: Ed25519PrivateKey) -> dict[str, Any]:
    signed = {
        "v": 2,
        "number": before["number"] + 1 if before else 1,
        "kind": "seal",
        "epoch": 1,
        "count": len(hashes),
        "size": last,
        "entries": verifier.batch_hash(hashes),
        "previous": verifier.Seal(before).hash if before else "",
        "end_xid": str(700 + last),
        "end_id": last,
        "after_id": 0,
        "cluster": "",
        "at": "2026-11-21T02:04:33.000000+00:00",
        "key": key.public_key().public_bytes_raw().hex(),
        "next_key": "",
        "note": "",
    }
    return {**signed, "signature": key.sign(b"countersign seal v2\n" + verifier.canonical(signed)).hex()}
