"""Compares the ledger with a checkpoint that somebody saved, and checks proofs that
somebody received.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import transaction

from audit.models import Check, Seal
from audit.recording import record
from audit.sealing import signing
from audit.sealing.signing import latest_seal
from audit.verifier.countersign_verify import fingerprint_of
from common.actors import Actor
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
    if "proof" in found:
        return CheckedProof(**found["proof"])
    return Checkpoint(**found["checkpoint"])


# The newest seals, whose chain a comparison follows; checks follow all of it.
MOST_SEALS = 10_000


@dataclass
class Comparison:
    """What came of it, step by step: each a sentence and whether it speaks for the
    ledger (None: neither).

    The outcome is `same`, `differs`, or `unsigned`: nobody made this statement, so it
    proves nothing.
    """

    checkpoint: Checkpoint
    outcome: str = "same"
    steps: list[tuple[bool | None, str]] = field(default_factory=list)
    last: Seal | None = None
    # A check of the whole ledger that went at least that far.
    check: Check | None = None

    def add(
        self, speaks_for: bool | None, sentence: str, outcome: str = "differs"
    ) -> bool:
        """Add a step; return whether to go on."""
        self.steps.append((speaks_for, sentence))
        if speaks_for is False:
            self.outcome = outcome
        return speaks_for is not False

    @property
    def is_same(self) -> bool:
        return self.outcome == "same"

    @property
    def answer(self) -> str:
        """The sentence of the result: the last one, because a difference ends the
        comparison.
        """
        return self.steps[-1][1]


def compare_with(content: bytes, *, actor: Actor) -> Comparison | CheckedProof:
    """Compare a checkpoint or check a proof, and record that and what came of it.
    Raises EvidenceUnreadable.

    Must not be called within a transaction: another process reads it.
    """
    found = read_evidence(content, keys=known_keys())
    if isinstance(found, Checkpoint):
        return _compare(found, actor)
    details = {
        "result": "does not hold" if found.findings else "holds",
        "answer": (found.findings or [""])[0],
    }
    with transaction.atomic():
        record("ledger.proof_checked", actor=actor, details=details)
    return found


@transaction.atomic
def _compare(found: Checkpoint, actor: Actor) -> Comparison:
    made = Comparison(found, last=latest_seal())
    if _check_signature(made) and _check_seal(made) and made.last:
        checks = Check.objects.finished().filter(up_to__gte=found.number)
        made.check = checks.newest_first().first()
        _check_chain(made, made.last)
    details = {"seal": str(found.number), "result": made.outcome, "answer": made.answer}
    record("ledger.consistency_asked", actor=actor, details=details)
    return made


def known_keys() -> set[str]:
    """Return every key that signed a seal here, and those that sign now."""
    first = Seal.objects.filter(number=1).values_list("key", flat=True)
    special = Seal.objects.exclude(kind=Seal.Kind.SEAL).values_list("key", "next_key")
    return set(signing.public_keys()).union(first, *special) - {""}


def _check_signature(made: Comparison) -> bool:
    checkpoint = made.checkpoint
    if not checkpoint.key:
        sentence = "A post has no signature, so only its numbers are compared."
        return made.add(None, sentence)
    if not checkpoint.is_signed:
        sentence = "Its signature does not match: it was altered, or only partly copied. It proves nothing."
        return made.add(False, sentence, "unsigned")
    named = fingerprint_of(checkpoint.key)
    if checkpoint.key not in known_keys():
        sentence = f"It is signed with the key {named}, which signed no seal here: it is another desk's, or this ledger"
        return made.add(False, f"{sentence} was replaced.")
    sentence = (
        f"Its signature is valid: the key {named} signed it, and signed seals here."
    )
    return made.add(True, sentence)


def _check_seal(made: Comparison) -> bool:
    checkpoint = made.checkpoint
    last = made.last
    here = Seal.objects.filter(number=checkpoint.number).first()
    if here is None:
        ends = f"ends at seal {last.number}" if last else "has none"
        sentence = f"It is seal {checkpoint.number}, and the database {ends}: newer entries were deleted, or an old"
        sentence += f" backup was restored.{_restore_since(checkpoint)}"
        return made.add(False, sentence)
    if (here.size, here.hash) != (checkpoint.size, checkpoint.hash):
        sentence = f"Seal {checkpoint.number} in the database is another one: its hash or its size differs."
        return made.add(False, f"{sentence}{_restore_since(checkpoint)}")
    return made.add(True, f"Seal {checkpoint.number} in the database is the same.")


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


def _check_chain(made: Comparison, last: Seal) -> bool:
    """Follow the chain from the checkpoint's seal to the newest one, as far back as a
    request may take.
    """
    number = made.checkpoint.number
    first = max(number, last.number - MOST_SEALS + 1)
    before: Seal | None = None
    expected = first
    for seal in Seal.objects.filter(number__gte=first).order_by("number").iterator():
        if seal.number != expected:
            return made.add(False, f"Seal {expected} is missing.")
        size = before.size + seal.count if before else 0
        if before and (seal.previous, seal.size) != (before.hash, size):
            sentence = f"Seal {seal.number} does not follow the seal before it."
            return made.add(False, sentence)
        before = seal
        expected += 1
    if not signing.is_signed(last):
        sentence = (
            f"The signature of seal {last.number}, the newest one, does not match."
        )
        return made.add(False, sentence)
    if number == last.number:
        return made.add(True, "It is the newest seal: nothing was sealed since.")
    if first == number:
        sentence = f"Every seal from there to seal {last.number}, the newest one, follows the one before it."
        return made.add(True, sentence)
    followed = "are older than a comparison goes; a full check follows them too"
    if made.check:
        followed = "were followed by the last full check"
    return made.add(None, f"The seals before seal {first} {followed}.")
