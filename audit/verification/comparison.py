"""Compares the ledger with a head that somebody saved: whether everything under it is still there, unaltered."""

import re
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from audit.models import Check, Seal
from audit.recording import record
from audit.sealing.preconditions import latest_seal
from audit.sealing.signing import SEAL_FIELDS, head_json, is_signed
from audit.sealing.tree import TreeIncomplete, consistency_path, stored_root
from audit.verifier import countersign_verify as verifier

# A witness's post (alerts.deliveries.witness), as it is copied out of a channel.
_POST = re.compile(
    r"seal ([0-9]{1,15})\b.*?\b([0-9][0-9,]{0,18}) entr(?:y|ies)\b.*?\broot\W+([0-9a-f]{64})\b", re.S | re.I
)
_NO_HEAD = (
    "This is not a checkpoint. Paste a whole line of the seals' file, the file under “Newest checkpoint”, or the "
    "whole post of a Discord channel."
)


class NoHead(ValueError):
    """The input is no head; the sentence says why."""


@dataclass(frozen=True)
class SavedHead:
    """A saved head: a whole one with its signature, or a post in a channel, which has no `seal`."""

    number: int
    size: int
    root: str
    seal: verifier.Seal | None = None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Comparison:
    """What came of it, step by step: each a sentence and whether it speaks for the ledger (None: neither).

    The outcome is `same`, `differs`, or `unsigned`: nobody made this statement, so it proves nothing.
    """

    head: SavedHead
    outcome: str = "same"
    steps: list[tuple[bool | None, str]] = field(default_factory=list)
    last: Seal | None = None
    path: list[bytes] = field(default_factory=list)
    # A check of the whole ledger that went at least that far.
    check: Check | None = None

    def add(self, speaks_for: bool | None, sentence: str, outcome: str = "differs") -> bool:
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
        """The sentence of the result: the last one, because a difference ends the comparison."""
        return self.steps[-1][1]

    def proof(self) -> dict[str, Any]:
        """Return the proof of consistency as docs/ledger.md describes it, for the verifier."""
        first = Seal.objects.get(number=self.head.number)
        heads = {"first": head_json(first), "second": head_json(self.last or first)}
        return {"v": 1, "kind": "consistency", **heads, "path": [one.hex() for one in self.path]}


def read_head(text: str) -> SavedHead:
    """Return the head in what somebody pasted: JSON, the last line of several, or a post. Raises NoHead."""
    lines = [line for line in text.splitlines() if line.strip()]
    for candidate in (text, *lines[-1:]):
        try:
            found = verifier.read_json(candidate.strip().encode())
        except ValueError:
            continue
        return _read_fields(found)
    if post := _POST.search(text):
        return SavedHead(int(post[1]), int(post[2].replace(",", "")), post[3].lower())
    raise NoHead(_NO_HEAD)


def _read_fields(found: Any) -> SavedHead:
    if not isinstance(found, dict):
        raise NoHead(_NO_HEAD)
    if found.get("kind") == "consistency" and isinstance(found.get("second"), dict):
        return _read_fields(found["second"])
    if missing := sorted({*SEAL_FIELDS, "signature"} - found.keys()):
        are = "is" if len(missing) == 1 else "are"
        raise NoHead(f"This checkpoint is incomplete: {', '.join(missing)} {are} missing.")
    try:
        seal = verifier.Seal(found)
    except ValueError:
        raise NoHead("This checkpoint is malformed: it was not written by a desk, or it was changed.") from None
    return SavedHead(seal.number, seal.size, seal.root, seal, found)


@transaction.atomic
def compare_with(head: SavedHead, *, actor: Any) -> Comparison:
    """Compare, and record that it was asked and what came of it."""
    made = Comparison(head, last=latest_seal())
    if _check_signature(made) and _check_seal(made) and _check_tree(made):
        made.check = Check.objects.finished().filter(up_to__gte=head.number).newest_first().first()
    details = {"seal": str(head.number), "result": made.outcome, "answer": made.answer}
    record("ledger.consistency_asked", actor=actor, details=details)
    return made


def _check_signature(made: Comparison) -> bool:
    seal = made.head.seal
    if seal is None:
        return made.add(None, "A post has no signature, so only its numbers are compared.")
    if not is_signed(seal.signed, seal.signature, bytes.fromhex(seal.key)):
        sentence = "Its signature does not match: it was altered, or only partly copied. It proves nothing."
        return made.add(False, sentence, "unsigned")
    named = verifier.fingerprint_of(seal.key)
    if not Seal.objects.filter(key=seal.key).exists():
        sentence = f"It is signed with the key {named}, which signed no seal here: it is another desk's, or this ledger"
        return made.add(False, f"{sentence} was replaced.")
    return made.add(True, f"Its signature is valid: the key {named} signed it, and signed seals here.")


def _check_seal(made: Comparison) -> bool:
    head, last = made.head, made.last
    here = Seal.objects.filter(number=head.number).first()
    if here is None:
        ends = f"and the database ends at seal {last.number}" if last else "and the database has none"
        sentence = f"It is seal {head.number}, {ends}: newer entries were deleted, or an old backup was restored."
        return made.add(False, f"{sentence}{_restore_since(head)}")
    saved = head.fields or {"size": head.size, "root": head.root}
    stored = head_json(here)
    if others := [name for name in stored if name in saved and saved[name] != stored[name]]:
        are = "is" if len(others) == 1 else "are"
        sentence = f"Seal {head.number} in the database differs: {', '.join(others)} {are} not the same."
        return made.add(False, f"{sentence}{_restore_since(head)}")
    return made.add(True, f"Seal {head.number} in the database is the same.")


def _restore_since(head: SavedHead) -> str:
    """Name the restore that was recorded after this head was made, if there was one."""
    restored = Seal.objects.filter(kind=Seal.Kind.RESTORED)
    if head.seal is not None:
        restored = restored.filter(at__gt=head.seal.at)
    seal = restored.order_by("-number").first()
    return f" Seal {seal.number} says that the database was restored since: {seal.note}" if seal else ""


def _check_tree(made: Comparison) -> bool:
    head, last = made.head, made.last
    assert last is not None
    try:
        made.path = consistency_path(head.size, last.size)
        if head.size == last.size:
            holds = stored_root(head.size).hex() == head.root
        else:
            holds = verifier.is_consistent(head.size, last.size, head.root, last.root, made.path)
    except TreeIncomplete as missing:
        return made.add(False, f"The hash tree is incomplete: {missing}")
    is_one = head.size == 1
    under = "The one entry under it is" if is_one else f"The {head.size:,} entries under it are"
    begins = f"the first of those under seal {last.number}"
    if not holds:
        return made.add(False, f"{under} not {begins}.")
    if head.size == last.size:
        return made.add(True, f"{under} unchanged: nothing was removed, added or moved.")
    steps = f"{len(made.path)} hash{'es' if len(made.path) != 1 else ''} prove it"
    return made.add(True, f"{under} still {begins}: {steps}.")
