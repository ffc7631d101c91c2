"""Compares the ledger with a checkpoint that somebody saved, and checks a proof that
somebody received. People paste or upload them on the page of the ledger's status.
"""

import json
from dataclasses import dataclass

from django.db import transaction

from audit.models import Seal
from audit.recording import record
from audit.sealing import signing
from audit.verifier.countersign_verify import fingerprint_of
from common.actors import Actor
from parsing.client import ParserKilled, ParserUnavailable, parse
from parsing.jobs import pack

# How many seconds a request waits for the process that reads the evidence.
PATIENCE = 20.0
# How many of the newest seals a comparison follows; a full check follows all.
MOST_SEALS = 10_000


class EvidenceUnreadable(Exception):
    """The text is no checkpoint or proof, or unreadable; the message says why."""


@dataclass(frozen=True)
class Evidence:
    """The result for a "checkpoint" or a "proof" (`kind`): it holds if there are no
    findings. `lines` say what a proof proves.
    """

    kind: str
    findings: list[str]
    notes: list[str]
    lines: list[str]


def check_evidence(content: bytes, *, actor: Actor) -> Evidence:
    """Compare a checkpoint or check a proof, and record the result in the ledger.
    Raises EvidenceUnreadable.

    Must not be called within a transaction, because it waits for another process, which
    reads the content.
    """
    request = pack({"keys": list(signing.known_keys())}, content)
    try:
        parsed = json.loads(parse("read_evidence", request, patience=PATIENCE))
    except ParserKilled:
        raise EvidenceUnreadable(
            "This takes too much time or memory to read. Check it with the verifier."
        ) from None
    except ParserUnavailable:
        raise EvidenceUnreadable(
            "This cannot be read at this moment. Try again."
        ) from None
    if error := parsed.get("error"):
        raise EvidenceUnreadable(error)
    with transaction.atomic():
        details = {}
        if "proof" in parsed:
            evidence = Evidence("proof", **parsed["proof"])
        else:
            checkpoint = parsed["checkpoint"]
            details["seal"] = str(checkpoint["number"])
            evidence = _compare(**checkpoint)
        record(
            f"ledger.{evidence.kind}_checked",
            actor,
            details={
                **details,
                "result": "does not hold" if evidence.findings else "holds",
                "answer": (evidence.findings or [""])[0],
            },
        )
    return evidence


def _compare(*, number: int, hash: str, key: str, is_signed: bool) -> Evidence:
    """Compare the seal of a checkpoint with the seal of that number in the database,
    and check that each seal from there to the newest one follows the one before.
    """
    last = signing.latest_seal()
    stored = Seal.objects.filter(number=number).first()
    first = max(number, last.number - MOST_SEALS + 1) if last else number
    if not is_signed:
        why = "Its signature does not match: it was altered, or only partly copied. It proves nothing."
    elif key not in signing.known_keys():
        why = (
            f"It is signed with the key {fingerprint_of(key)}, which signed no seal here: "
            "it is another desk's, or this ledger was replaced."
        )
    elif not stored or not last:
        ends = f"ends at seal {last.number}" if last else "has none"
        why = (
            f"It is seal {number}, and the database {ends}: "
            "newer entries were deleted, or an old backup was restored."
        )
    elif stored.hash != hash:
        why = (
            f"Seal {number} in the database is another one: what it covers was altered."
        )
    else:
        why = signing.break_since(first)
    if why or not last:
        return Evidence("checkpoint", [why], [], [])
    notes = [
        f"Seal {number} in the database is the same, signed with the key {fingerprint_of(key)}.",
        f"Every seal from seal {first} to seal {last.number}, the newest one, follows the one before it.",
        "Whether each entry is unchanged, only a full check tells.",
    ]
    return Evidence("checkpoint", [], notes, [])
