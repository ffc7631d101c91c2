"""Has a pasted checkpoint read, or a proof checked, by the parser: bytes go to a
process apart, plain values return.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from parsing.client import ParserKilled, ParserUnavailable, parse
from parsing.jobs import pack

# Seconds that a request waits.
PATIENCE = 20.0


class EvidenceUnreadable(Exception):
    """What was pasted is neither a checkpoint nor a proof; the sentence says why."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved checkpoint: a whole seal, or a post in a channel, which has no key and no
    signature.
    """

    number: int
    size: int
    hash: str
    at: str = ""
    key: str = ""
    is_signed: bool = False


@dataclass(frozen=True)
class CheckedProof:
    """What the verifier says of a proof."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def read_evidence(content: bytes, *, keys: Iterable[str]) -> Checkpoint | CheckedProof:
    """Return what these bytes are; a proof is checked against these keys. Raises
    EvidenceUnreadable.
    """
    request = pack({"keys": list(keys)}, content)
    try:
        found = json.loads(parse("read_evidence", request, tries=1, patience=PATIENCE))
    except ParserKilled:
        raise EvidenceUnreadable(
            "This takes too much time or memory to read. Check it with the verifier."
        ) from None
    except ParserUnavailable:
        raise EvidenceUnreadable(
            "This cannot be read at this moment. Try again."
        ) from None
    if error := found.get("error"):
        raise EvidenceUnreadable(error)
    return (
        CheckedProof(**found["proof"])
        if "proof" in found
        else Checkpoint(**found["checkpoint"])
    )
