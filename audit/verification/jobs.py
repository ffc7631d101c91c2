"""What the parser does for the ledger's pages: reads a checkpoint, or checks a proof,
that somebody pasted or uploaded.

Both may be anybody's bytes. The verifier is the one that auditors run.
"""

import json
from typing import Any

from audit.verifier import countersign_verify as verifier
from parsing.jobs import MEGABYTE, Job, unpack


def _read(request: bytes) -> bytes:
    """Return what was pasted: `error`, a sentence; or `checkpoint`; or `proof`, what
    the verifier says of it.
    """
    asked, (content,) = unpack(request)
    try:
        found = _found(content.strip(), asked["keys"])
    except verifier.Unreadable as error:
        found = {"error": str(error)}
    return json.dumps(found).encode()


def _found(content: bytes, keys: list[str]) -> dict[str, Any]:
    if b'"batches"' in content:
        if not keys:
            error = (
                "This desk has no key and no seal, so this is no proof of its ledger."
            )
            return {"error": error}
        report, lines = verifier.check_proof(content, verifier.Trust(keys))
        checked = {"findings": report.findings, "notes": report.notes, "lines": lines}
        return {"proof": checked}
    # Of several lines the last one counts; a witness channel shows it among others.
    seals = [line for line in content.splitlines() if line.startswith(b"{")]
    if not seals:
        error = (
            "This is neither a checkpoint nor a proof. Paste a line of the seals' file, the file under “Newest "
            "checkpoint”, the post of a Discord channel, or a proof file."
        )
        return {"error": error}
    try:
        seal = verifier.Seal(verifier.read_json(seals[-1].rstrip(b"` ")))
    except ValueError as why:
        return {"error": f"This checkpoint cannot be read: {why}."}
    checkpoint = {
        "number": seal.number,
        "hash": seal.hash,
        "key": seal.key,
        "is_signed": seal.is_signed(),
    }
    return {"checkpoint": checkpoint}


JOBS = {"read_evidence": Job(_read, seconds=10, memory=512 * MEGABYTE)}
