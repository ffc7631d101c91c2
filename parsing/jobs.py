"""What a job of the parser is; and `pack` and `unpack`, which turn a JSON object and
some byte strings into one message and back, for a job's input or answer.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from typing import Any

MEGABYTE = 1024 * 1024


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
    """Return one message: a line with the JSON object and the length of each blob, then
    the blobs.
    """
    head = json.dumps([value, [len(blob) for blob in blobs]])
    return b"".join([head.encode(), b"\n", *blobs])


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return the JSON object and the blobs of a message that `pack` made. Raises
    ValueError or TypeError for anything else.
    """
    head, _, rest = message.partition(b"\n")
    value, lengths = json.loads(head)
    ends = list(accumulate(lengths, initial=0))
    if not isinstance(value, dict) or ends[-1] != len(rest):
        raise ValueError("no message of the parser, or one that breaks off")
    return value, [rest[start:end] for start, end in pairwise(ends)]
