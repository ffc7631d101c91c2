"""What the parser can be asked to do, and how a request and its answer are packed."""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MEGABYTE = 1024 * 1024
_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True)
class Job:
    """One thing that the parser does with bytes, and what it may use for it."""

    run: Callable[[bytes], bytes]
    # Processor time.
    seconds: int = 5
    # Besides what the program itself needs.
    memory: int = 256 * MEGABYTE


def pack(value: Mapping[str, Any], *blobs: bytes) -> bytes:
    """Return a JSON object with bytes beside it as one message."""
    head = json.dumps(value).encode() + b"\n"
    return b"".join(
        [head, *(part for blob in blobs for part in (_LENGTH.pack(len(blob)), blob))]
    )


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return what `pack` was given. Raises ValueError for anything else."""
    head, newline, rest = message.partition(b"\n")
    value = json.loads(head)
    if not newline or not isinstance(value, dict):
        raise ValueError("no message of the parser")
    blobs = []
    at = 0
    while at < len(rest):
        if at + _LENGTH.size > len(rest):
            raise ValueError("a message of the parser that breaks off")
        (length,) = _LENGTH.unpack_from(rest, at)
        at += _LENGTH.size
        if at + length > len(rest):
            raise ValueError("a message of the parser that breaks off")
        blobs.append(rest[at : at + length])
        at += length
    return value, blobs
