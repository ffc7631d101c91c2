"""Compares the ledger with a checkpoint that somebody saved, and checks proofs that
somebody received.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from audit.models import Check, Seal
from audit.recording import record
from audit.sealing import signing
from audit.verifier.countersign_verify import fingerprint_of
from common.actors import Actor
from parsing.client import ParserKilled, ParserUnavailable, parse
from parsing.jobs import pack

# Seconds that a request waits.
PATIENCE = 20.0
# The newest seals, whose chain a comparison follows; checks follow all of it.
MOST_SEALS = 10_000


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


# A sentence, and whether it speaks for the ledger (None: neither).
Step = tuple[bool | None, str]


@dataclass(frozen=True)
class Comparison:
    """What came of it, step by step: the last one is the answer, because a difference
    ends the comparison.

    The outcome is `same`, `differs`, or `unsigned`: nobody made this statement, so it
    proves nothing.
    """

    checkpoint: Checkpoint
    steps: list[Step]
    # A check of the whole ledger that went at least that far.
    check: Check | None

    @property
    def outcome(self) -> str:
        if self.steps[-1][0] is not False:
            return "same"
        is_unsigned = self.checkpoint.key and not self.checkpoint.is_signed
        return "unsigned" if is_unsigned else "differs"


def compare_with(content: bytes, *, actor: Actor) -> dict[str, Any]:
    """Compare a checkpoint or check a proof, and record that and what came of it.
    Return it as `compared` or as `proof`, which is what the verifier says. Raises
    EvidenceUnreadable.

    Must not be called within a transaction: another process reads it.
    """
    request = pack({"keys": list(known_keys())}, content)
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
    if "proof" in found:
        findings = found["proof"]["findings"]
        details = {
            "result": "does not hold" if findings else "holds",
            "answer": (findings or [""])[0],
        }
        with transaction.atomic():
            record("ledger.proof_checked", actor, details=details)
        return {"proof": found["proof"]}
    checkpoint = Checkpoint(**found["checkpoint"])
    with transaction.atomic():
        check = (
            Check.objects.finished()
            .filter(up_to__gte=checkpoint.number)
            .newest_first()
            .first()
        )
        made = Comparison(checkpoint, list(_steps(checkpoint, check)), check)
        details = {
            "seal": str(checkpoint.number),
            "result": made.outcome,
            "answer": made.steps[-1][1],
        }
        record("ledger.consistency_asked", actor, details=details)
    return {"compared": made}


def known_keys() -> set[str]:
    """Return every key that signed a seal here, and those that sign now."""
    first = Seal.objects.filter(number=1).values_list("key", flat=True)
    special = Seal.objects.exclude(kind=Seal.Kind.SEAL).values_list("key", "next_key")
    return set(signing.public_keys()).union(first, *special) - {""}


def _steps(checkpoint: Checkpoint, check: Check | None) -> Iterator[Step]:
    """Yield the steps up to the first difference: the signature, the seal, and the
    chain from there to the newest seal.
    """
    number = checkpoint.number
    last = signing.latest_seal()
    if not checkpoint.key:
        yield None, "A post has no signature, so only its numbers are compared."
    elif not checkpoint.is_signed:
        yield (
            False,
            "Its signature does not match: it was altered, or only partly copied. It proves nothing.",
        )
        return
    else:
        named = fingerprint_of(checkpoint.key)
        if checkpoint.key not in known_keys():
            sentence = f"It is signed with the key {named}, which signed no seal here"
            yield (
                False,
                f"{sentence}: it is another desk's, or this ledger was replaced.",
            )
            return
        yield (
            True,
            f"Its signature is valid: the key {named} signed it, and signed seals here.",
        )
    here = Seal.objects.filter(number=number).first()
    if here is None or last is None:
        ends = f"ends at seal {last.number}" if last else "has none"
        sentence = f"It is seal {number}, and the database {ends}: newer entries were deleted, or an old"
        yield False, f"{sentence} backup was restored.{_restore_since(checkpoint)}"
        return
    if (here.size, here.hash) != (checkpoint.size, checkpoint.hash):
        sentence = f"Seal {number} in the database is another one: its hash or its size differs."
        yield False, f"{sentence}{_restore_since(checkpoint)}"
        return
    yield True, f"Seal {number} in the database is the same."
    first = max(number, last.number - MOST_SEALS + 1)
    before: Seal | None = None
    seals = Seal.objects.filter(number__gte=first).order_by("number")
    for expected, seal in enumerate(seals.iterator(), start=first):
        if seal.number != expected:
            yield False, f"Seal {expected} is missing."
            return
        size = before.size + seal.count if before else 0
        if before and (seal.previous, seal.size) != (before.hash, size):
            yield False, f"Seal {seal.number} does not follow the seal before it."
            return
        before = seal
    if not signing.is_signed(last):
        yield (
            False,
            f"The signature of seal {last.number}, the newest one, does not match.",
        )
    elif number == last.number:
        yield True, "It is the newest seal: nothing was sealed since."
    elif first == number:
        yield (
            True,
            f"Every seal from there to seal {last.number}, the newest one, follows the one before it.",
        )
    else:
        followed = "are older than a comparison goes; a full check follows them too"
        if check:
            followed = "were followed by the last full check"
        yield None, f"The seals before seal {first} {followed}."


def _restore_since(checkpoint: Checkpoint) -> str:
    """Name the restore that was recorded after this checkpoint was made, if there was
    one.
    """
    restored = Seal.objects.filter(kind=Seal.Kind.RESTORED)
    if checkpoint.at:
        restored = restored.filter(at__gt=checkpoint.at)
    seal = restored.order_by("-number").first()
    if seal is None:
        return ""
    return f" Seal {seal.number} says that the database was restored since: {seal.note}"
