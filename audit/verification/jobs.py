"""The job of the confined parser process for the ledger's pages: reads a checkpoint, or
checks a proof, that somebody pasted or uploaded.

The bytes may be hostile. They are read with the verifier that auditors run.
"""

import json
from typing import Any

from audit.verifier import countersign_verify as verifier
from parsing.jobs import MEGABYTE, Job, unpack


def _read(request: bytes) -> bytes:
    """Return JSON with one of the keys `error` (a sentence), `checkpoint` (its fields),
    or `proof` (the verifier's result).
    """
    options, (content,) = unpack(request)
    try:
        result = _found(content.strip(), options["keys"])
    except verifier.Unreadable as error:
        result = {"error": str(error)}
    return json.dumps(result).encode()


def _found(content: bytes, keys: list[str]) -> dict[str, Any]:
    if b'"batches"' in content:
        if not keys:
            return {
                "error": "This desk has no key and no seal, so this is no proof of its ledger."
            }
        report, lines = verifier.check_proof(content, verifier.Trust(keys))
        return {
            "proof": {
                "findings": report.findings,
                "notes": report.notes,
                "lines": lines,
            }
        }
    # Of several lines with a checkpoint, the last one counts. A post in a Discord
    # channel has other lines too.
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
    return {
        "checkpoint": {
            "number": seal.number,
            "hash": seal.hash,
            "key": seal.key,
            "is_signed": seal.is_signed(),
        }
    }


JOBS = {"read_evidence": Job(_read, seconds=10, memory=512 * MEGABYTE)}
