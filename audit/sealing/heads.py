"""What a seal signs and how it is handed out: docs/ledger.md, byte by byte."""

import hashlib
from datetime import UTC
from typing import Any

from audit.models import Seal
from common.fingerprint import canonical_json

VERSION = 1
_CONTEXT = b"countersign seal v1\n"


def signed_fields(seal: Seal) -> dict[str, Any]:
    """Return all that a seal says."""
    return {
        "v": VERSION,
        "number": seal.number,
        "kind": str(seal.kind),
        "epoch": seal.epoch,
        "size": seal.size,
        "root": seal.root,
        "previous": seal.previous,
        "horizon": str(seal.horizon),
        "after_id": seal.after_id,
        "cluster": seal.cluster,
        "at": seal.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "key": seal.key,
        "next_key": seal.next_key,
        "note": seal.note,
    }


def signed_bytes(seal: Seal) -> bytes:
    """Return the bytes under the signature."""
    return _CONTEXT + canonical_json(signed_fields(seal))


def head_json(seal: Seal) -> dict[str, Any]:
    """Return the head that outsiders keep: the seal and its signature."""
    return {**signed_fields(seal), "signature": seal.signature}


def head_line(seal: Seal) -> bytes:
    """Return the head as one line of a file."""
    return canonical_json(head_json(seal)) + b"\n"


def head_hash(seal: Seal) -> str:
    """Return what the next seal calls `previous`."""
    return hashlib.sha256(signed_bytes(seal) + bytes.fromhex(seal.signature)).hexdigest()
