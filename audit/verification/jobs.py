"""What the parser does for the ledger's pages: reads a checkpoint, or checks a proof,
that somebody pasted or uploaded.

Both may be anybody's bytes. The verifier is the one that auditors run.
"""

import json
import re
from typing import Any

from audit.verifier import countersign_verify as verifier
from parsing.jobs import MEGABYTE, Job, unpack

# What is looked for in a post of a witness (alerts.deliveries.witness), and in how many
# words: whoever copies a post copies some words around it.
_POST = re.compile(
    r"\bseal (?P<number>[0-9]{1,15})\b(?![-,]\w)"
    r"|(?<![\w,.-])(?P<size>[0-9][0-9,]{0,19}) entr(?:y|ies)\b"
    r"|\bhash (?P<hash>[0-9a-f]{64})\b"
)
_WORDS = 500
_NOT_KNOWN = (
    "This is neither a checkpoint nor a proof. Paste a whole line of the seals' file, the file under “Newest "
    "checkpoint”, the whole post of a Discord channel, or a proof file."
)


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
    if not content.startswith(b"{"):
        text = content.decode("utf-8", "replace").replace("*", " ").replace("`", " ")
        stated: dict[str, str] = {}
        for found in _POST.finditer(" ".join(text.lower().split()[:_WORDS])):
            name = str(found.lastgroup)
            stated.setdefault(name, found[name])
        if len(stated) < 3:
            return {"error": _NOT_KNOWN}
        number = int(stated["number"])
        size = int(stated["size"].replace(",", ""))
        return {"checkpoint": {"number": number, "size": size, "hash": stated["hash"]}}
    try:
        read = verifier.read_json(content)
        is_proof = isinstance(read, dict) and "batches" in read
    except ValueError:
        # Most likely lines of the seals' file; anything else is refused as such.
        is_proof = b'"batches"' in content
    if is_proof and not keys:
        error = "This desk has no key and no seal, so this is no proof of its ledger."
        return {"error": error}
    if is_proof:
        report, lines = verifier.check_proof(content, verifier.Trust(keys))
        checked = {"findings": report.findings, "notes": report.notes, "lines": lines}
        return {"proof": checked}
    # Of several lines the last one counts.
    for candidate in (content, content.splitlines()[-1]):
        try:
            seal = verifier.Seal(verifier.read_json(candidate))
        except ValueError as error:
            why = str(error)
        else:
            checkpoint = {
                "number": seal.number,
                "size": seal.size,
                "hash": seal.hash,
                "at": seal.at,
                "key": seal.key,
                "is_signed": seal.is_signed(),
            }
            return {"checkpoint": checkpoint}
    return {"error": f"This checkpoint cannot be read: {why}."}


JOBS = {"read_evidence": Job(_read, seconds=10, memory=512 * MEGABYTE)}
