"""The proof of one message: its sealed entries and the fewest hashes that lead from them to a signed head.

docs/ledger.md has its form. It is checked by `countersign_verify.py`, and by the page that `proof_page` makes of it.
"""

import base64
import json
import textwrap
import zlib
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from uuid import UUID

from django.db import transaction

from audit.models import Entry, Leaf, Seal
from audit.recording import ActorLike, canonical_entry, record
from audit.sealing.preconditions import latest_seal
from audit.sealing.signing import head_json, key_fingerprint
from audit.sealing.tree import proof_nodes
from audit.trail import Line, lines
from common.postgres import clock

VERSION = 1
# Entries of one message; a proof of more would be a bundle.
MOST = 10_000
_BEGIN, _END = "-----BEGIN COUNTERSIGN PROOF-----", "-----END COUNTERSIGN PROOF-----"
_WIDTH = 76


class NothingSealed(Exception):
    """There is nothing to prove yet; the sentence says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Proof:
    """A proof, and the lines that it is about."""

    data: dict[str, Any]
    seal: Seal
    lines: tuple[Line, ...]
    not_sealed: tuple[int, ...]

    @property
    def key_fingerprint(self) -> str:
        """The key that signed the head, as people compare it."""
        return key_fingerprint(bytes.fromhex(self.seal.key))

    def as_json(self) -> str:
        """Return the proof as a file."""
        return json.dumps(self.data, ensure_ascii=False, indent=1) + "\n"

    def as_text(self) -> str:
        """Return the proof as text that can be sent by e-mail, with words that say what it is."""
        packed = base64.b64encode(zlib.compress(json.dumps(self.data, separators=(",", ":")).encode(), 9)).decode()
        return "\n".join([*self._words(), "", _BEGIN, *textwrap.wrap(packed, _WIDTH), _END, ""])

    def _words(self) -> list[str]:
        """The head of the text: none of these is proved, and none was written by anybody but us."""
        entries = len(self.data["entries"])
        return [
            f"Proof of {entries} {'entry' if entries == 1 else 'entries'} about the message {self.data['message']},",
            f"made {self.data['made_at'][:16]} UTC under seal {self.seal.number} of {self.seal.at:%Y-%m-%d %H:%M} UTC.",
            f"The seal is signed with the key {self.key_fingerprint}: compare it with what the desk shows",
            "under Audit, How the ledger stands, or with what you were told otherwise.",
            *self._left_out(),
            "Check it: python3 countersign_verify.py THIS-FILE",
        ]

    def _left_out(self) -> list[str]:
        if not self.not_sealed:
            return []
        named = ", ".join(f"{one}" for one in self.not_sealed[:20])
        more = f" and {len(self.not_sealed) - 20} more" if len(self.not_sealed) > 20 else ""
        return [f"Not sealed yet, and so not in it: entries {named}{more}."]


def prove(message: UUID, *, actor: ActorLike, form: str, with_details: bool = True) -> Proof:
    """Return the proof of one message as it is now, and note who took it. Raises NothingSealed."""
    told = lines(Entry.objects.of_message(message).oldest_first()[: MOST + 1])
    if len(told) > MOST:
        raise NothingSealed(f"This message has more than {MOST:,} entries: take a bundle of the ledger instead.")
    seal = latest_seal()
    places = _places(told, seal) if seal else {}
    if seal is None or not places:
        raise NothingSealed("Nothing of this message is sealed yet, so there is nothing to prove. Try again soon.")
    sealed = sorted((line for line in told if line.entry.pk in places), key=lambda line: places[line.entry.pk])
    not_sealed = tuple(line.entry.pk for line in told if line.entry.pk not in places)
    nodes = proof_nodes(places.values(), seal.size)
    data = {
        "v": VERSION,
        "kind": "message",
        "message": str(message),
        "made_at": clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "product": "Countersign",
        "entries": [_entry(line, places[line.entry.pk], with_details=with_details) for line in sealed],
        "not_sealed": list(not_sealed),
        "nodes": [[level, index, found.hex()] for level, index, found in nodes],
        "seal": head_json(seal),
    }
    proof = Proof(data, seal, tuple(sealed), not_sealed)
    _note_taken(proof, message, actor=actor, form=form, with_details=with_details)
    return proof


def _places(told: list[Line], seal: Seal) -> dict[int, int]:
    """Return where these entries stand in the tree, of those that this seal covers."""
    leaves = Leaf.objects.filter(entry__in=[line.entry.pk for line in told], position__lt=seal.size)
    return dict(leaves.values_list("entry", "position"))


def _entry(line: Line, position: int, *, with_details: bool) -> dict[str, Any]:
    detail = getattr(line.entry, "detail", None) if with_details else None
    return {
        "position": position,
        "entry": canonical_entry(line.entry).decode(),
        "salt": bytes(detail.salt).hex() if detail else None,
        "fields": dict(detail.fields) if detail else None,
    }


@transaction.atomic
def _note_taken(proof: Proof, message: UUID, *, actor: ActorLike, form: str, with_details: bool) -> None:
    record(
        "ledger.proof_taken",
        actor=actor,
        connection=next((line.entry.connection for line in proof.lines if line.entry.connection), None),
        message=message,
        details={
            "format": form,
            "entries": str(len(proof.lines)),
            "seal": str(proof.seal.number),
            "personal details": "with" if with_details else "without",
        },
    )
