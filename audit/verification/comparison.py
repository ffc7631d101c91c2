"""Compares the ledger with a head that somebody kept: whether everything under it is still there, unaltered."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import transaction

from audit.models import Check, Seal
from audit.recording import record
from audit.sealing import signing
from audit.sealing.preconditions import latest_seal
from audit.sealing.signing import head_json, signed_bytes
from audit.sealing.tree import TreeIncomplete, consistency_path, stored_root
from audit.verifier.countersign_verify import is_consistent, read_json

_NUMBERS, _HEX = ("v", "number", "epoch", "size", "after_id"), {"root": 64, "key": 64, "signature": 128}
_NAMES = {*_NUMBERS, *_HEX, "kind", "previous", "horizon", "cluster", "at", "next_key", "note"}
# What a witness was told (alerts.deliveries.witness), as it is copied out of a channel.
_POST = re.compile(
    r"seal ([0-9]{1,15})\b.*?\b([0-9][0-9,]{0,18}) entr(?:y|ies)\b.*?\broot\W+([0-9a-f]{64})\b", re.S | re.I
)
_NO_HEAD = (
    "This is no head. One is a line of the seals' file, the file that “Newest head” gives, or what a channel in "
    "Discord was told; copy it whole."
)


class NoHead(ValueError):
    """What was put in is nothing to compare with; the sentence says why."""


@dataclass(frozen=True)
class Kept:
    """What somebody kept. `seal` is the whole head with its signature; a post in a channel has none."""

    number: int
    size: int
    root: str
    seal: Seal | None = None


class Verdict(StrEnum):
    """What came of it."""

    SAME = "same"
    DIFFERS = "differs"
    # It is no statement of anybody's that could be held against the ledger.
    UNSIGNED = "unsigned"


@dataclass
class Compared:
    """What came of it, step by step: each a sentence and whether it speaks for the ledger (None: neither)."""

    kept: Kept
    verdict: Verdict = Verdict.SAME
    steps: list[tuple[bool | None, str]] = field(default_factory=list)
    last: Seal | None = None
    path: list[bytes] = field(default_factory=list)
    # A look through the whole ledger that went at least that far.
    check: Check | None = None

    def say(self, speaks_for: bool | None, sentence: str, verdict: Verdict = Verdict.DIFFERS) -> None:
        """Add a step."""
        self.steps.append((speaks_for, sentence))
        if speaks_for is False:
            self.verdict = verdict

    @property
    def is_same(self) -> bool:
        return self.verdict == Verdict.SAME

    @property
    def answer(self) -> str:
        """The sentence that decides."""
        return next((sentence for speaks_for, sentence in self.steps if speaks_for is False), self.steps[-1][1])

    def proof(self) -> dict[str, Any]:
        """Return the proof of consistency as docs/ledger.md describes it, for the verifier."""
        first = Seal.objects.get(number=self.kept.number)
        heads = {"first": head_json(first), "second": head_json(self.last or first)}
        return {"v": 1, "kind": "consistency", **heads, "path": [one.hex() for one in self.path]}


def read_kept(text: str) -> Kept:
    """Return the head in what somebody pasted: JSON, the last line of several, or a post. Raises NoHead."""
    lines = [line for line in text.splitlines() if line.strip()]
    for candidate in (text, *reversed(lines[-1:])):
        try:
            found = read_json(candidate.strip().encode())
        except ValueError:
            continue
        return _read_head(found)
    if said := _POST.search(text):
        return Kept(int(said[1]), int(said[2].replace(",", "")), said[3].lower())
    raise NoHead(_NO_HEAD)


def _read_head(found: Any) -> Kept:
    if not isinstance(found, dict):
        raise NoHead(_NO_HEAD)
    if found.get("kind") == "consistency" and isinstance(found.get("second"), dict):
        return _read_head(found["second"])
    if missing := sorted(_NAMES - found.keys()):
        raise NoHead(f"This is no whole head: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")
    try:
        _check_types(found)
        seal = Seal(**{name: found[name] for name in _NAMES - {"v", "at", "horizon"}})
        seal.at, seal.horizon = datetime.fromisoformat(found["at"]), int(found["horizon"])
        is_written_so = head_json(seal) == found
    except (TypeError, ValueError, OverflowError):
        is_written_so = False
    if not is_written_so:
        raise NoHead("This is not a head as the desk writes one: something in it has another form.")
    return Kept(seal.number, seal.size, seal.root, seal)


def _check_types(found: dict[str, Any]) -> None:
    for name in _NAMES:
        wanted = int if name in _NUMBERS else str
        if type(found[name]) is not wanted or (wanted is int and not 0 <= found[name] < 1 << 62):
            raise ValueError(name)
    for name, length in _HEX.items():
        if not re.fullmatch(f"[0-9a-f]{{{length}}}", found[name]):
            raise ValueError(name)


@transaction.atomic
def compare_with(kept: Kept, *, actor: Any) -> Compared:
    """Compare, and write down that it was asked and what came of it."""
    compared = _compare(kept)
    answer = {"seal": str(kept.number), "result": str(compared.verdict), "answer": compared.answer}
    record("ledger.consistency_asked", actor=actor, details=answer)
    return compared


def _compare(kept: Kept) -> Compared:
    compared = Compared(kept, last=latest_seal())
    if _check_signature(compared) and _check_seal(compared) and _check_tree(compared):
        checks = Check.objects.finished().filter(up_to__gte=kept.number)
        compared.check = checks.newest_first().first()
    return compared


def _check_signature(compared: Compared) -> bool:
    seal = compared.kept.seal
    if seal is None:
        compared.say(None, "A post holds no signature, so its numbers alone are compared.")
        return True
    key = bytes.fromhex(seal.key)
    if not signing.is_signed(signed_bytes(seal), bytes.fromhex(seal.signature), key):
        sentence = "Its signature does not fit what it says: it was altered, or not copied whole. It proves nothing."
        compared.say(False, sentence, Verdict.UNSIGNED)
        return False
    named = signing.key_fingerprint(key)
    if not Seal.objects.filter(key=seal.key).exists():
        sentence = f"It is signed with the key {named}, which signed no seal here: it is another desk's, or this ledger"
        compared.say(False, f"{sentence} is not the one that it was.")
        return False
    compared.say(True, f"Its signature fits: the key {named} signed it, and signed seals here.")
    return True


def _check_seal(compared: Compared) -> bool:
    kept, last = compared.kept, compared.last
    here = Seal.objects.filter(number=kept.number).first()
    if here is None:
        ends = f"and the database ends at seal {last.number}" if last else "and the database has none"
        sentence = f"It is seal {kept.number}, {ends}: what came after was cut off, or an old backup was played back."
        compared.say(False, f"{sentence}{_restore_since(kept)}")
        return False
    if others := _differences(kept, here):
        sentence = (
            f"The database has another seal {kept.number}: {', '.join(others)} {'is' if len(others) == 1 else 'are'}"
        )
        compared.say(False, f"{sentence} not the same.{_restore_since(kept)}")
        return False
    compared.say(True, f"Seal {kept.number} is in the database as it was kept.")
    return True


def _differences(kept: Kept, here: Seal) -> list[str]:
    if kept.seal is None:
        return [name for name in ("size", "root") if getattr(kept, name) != getattr(here, name)]
    said, stands = head_json(kept.seal), head_json(here)
    return [name for name in stands if said[name] != stands[name]]


def _restore_since(kept: Kept) -> str:
    """Name the restore that was owned up to after this head was made, if there was one."""
    restored = Seal.objects.filter(kind=Seal.Kind.RESTORED)
    if kept.seal is not None:
        restored = restored.filter(at__gt=kept.seal.at)
    seal = restored.order_by("-number").first()
    return f" Seal {seal.number} says that the database was restored since: {seal.note}" if seal else ""


def _check_tree(compared: Compared) -> bool:
    kept, last = compared.kept, compared.last
    assert last is not None
    try:
        compared.path = consistency_path(kept.size, last.size)
        if kept.size == last.size:
            holds = stored_root(kept.size).hex() == kept.root
        else:
            holds = is_consistent(kept.size, last.size, kept.root, last.root, compared.path)
    except TreeIncomplete as missing:
        compared.say(False, f"The tree is not whole: {missing}")
        return False
    is_one = kept.size == 1
    under = "The one entry under it is" if is_one else f"The {kept.size:,} entries under it are"
    begins = f"{'the one' if is_one else 'those'} with which the tree of seal {last.number} begins"
    if not holds:
        compared.say(False, f"{under} not {begins}.")
    elif kept.size == last.size:
        compared.say(True, f"{under} in the tree as then: nothing was taken away, added or put elsewhere.")
    else:
        steps = f"{len(compared.path)} hash{'es' if len(compared.path) != 1 else ''} prove it"
        compared.say(True, f"{under} still {begins}: {steps}.")
    return holds
