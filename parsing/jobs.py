"""What a job of the parser is; and `pack` and `unpack`, which turn a JSON object and
some byte strings into one message and back, for a job's input or answer.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

MEGABYTE = 1024 * 1024
_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True)
class Job:
    """A function that the parser runs on bytes, and how much it may use."""

    run: Callable[[bytes], bytes]
    # Of processor time.
    seconds: int = 5
    # In bytes, in addition to what the program and copies of the request need.
    memory: int = 256 * MEGABYTE


def json_job(answer: Callable[[Any], Any], **limits: int) -> Job:
    """Return a job that reads JSON, and answers with the dataclass or text that
    `answer` returns for it, as JSON.
    """

    def run(request: bytes) -> bytes:
        return json.dumps(answer(json.loads(request)), default=asdict).encode()

    return Job(run, **limits)


def pack(value: Mapping[str, Any], *blobs: bytes) -> bytes:
    """Return one message: the JSON object in a line, then each blob after its length."""
    head = json.dumps(value).encode() + b"\n"
    return b"".join(
        [head, *(part for blob in blobs for part in (_LENGTH.pack(len(blob)), blob))]
    )


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return the JSON object and the blobs of a message that `pack` made. Raises
    ValueError for anything else.
    """
    head, newline, rest = message.partition(b"\n")
    value = json.loads(head)
    if not newline or not isinstance(value, dict):
        raise ValueError("no message of the parser")
    blobs = []
    position = 0
    while position < len(rest):
        if position + _LENGTH.size > len(rest):
            raise ValueError("a message of the parser that breaks off")
        (length,) = _LENGTH.unpack_from(rest, position)
        position += _LENGTH.size
        if position + length > len(rest):
            raise ValueError("a message of the parser that breaks off")
        blobs.append(rest[position : position + length])
        position += length
    return value, blobs
