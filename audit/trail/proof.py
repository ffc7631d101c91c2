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
from audit.sealing.signing import head_json
from audit.sealing.tree import proof_nodes
from audit.trail import Line, lines
from common.postgres import clock

VERSION = 1
# Entries of one message; a proof of more would be a bundle.
MOST = 10_000
_BEGIN, _END = "-----BEGIN COUNTERSIGN PROOF-----", "-----END COUNTERSIGN PROOF-----"
_WIDTH = 76


class NothingSealed(Exception):
    """Nothing is sealed yet; the sentence says why."""


@dataclass(frozen=True)
class Proof:
    """A proof, and the lines that it is about."""

    data: dict[str, Any]
    seal: Seal
    lines: tuple[Line, ...]
    not_sealed: tuple[int, ...]

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
            f"The seal is signed with the key {self.seal.key_fingerprint}: compare it with the one",
            "under Audit, Ledger status, or with a copy from elsewhere.",
            *self._left_out(),
            "Check it: python3 countersign_verify.py THIS-FILE",
        ]

    def _left_out(self) -> list[str]:
        if not self.not_sealed:
            return []
        named = ", ".join(f"{one}" for one in self.not_sealed[:20])
        more = f" and {len(self.not_sealed) - 20} more" if len(self.not_sealed) > 20 else ""
        return [f"Not included, because not sealed yet: entries {named}{more}."]


def prove(message: UUID, *, actor: ActorLike, form: str, with_details: bool = True) -> Proof:
    """Return the proof of one message as it is now, and record who took it. Raises NothingSealed."""
    found = lines(Entry.objects.of_message(message).oldest_first()[: MOST + 1])
    if len(found) > MOST:
        raise NothingSealed(f"This message has more than {MOST:,} entries. Export a bundle of the ledger instead.")
    seal = latest_seal()
    leaves = Leaf.objects.filter(entry__in=[line.entry.pk for line in found], position__lt=seal.size if seal else 0)
    positions = dict(leaves.order_by("position").values_list("entry", "position"))
    if seal is None or not positions:
        raise NothingSealed("No entry of this message is sealed yet. Try again in a few seconds.")
    by_number = {line.entry.pk: line for line in found}
    sealed = {position: by_number[number] for number, position in positions.items()}
    not_sealed = tuple(number for number in by_number if number not in positions)
    data = {
        "v": VERSION,
        "kind": "message",
        "message": str(message),
        "made_at": clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "product": "Countersign",
        "entries": [_entry(line, position, with_details=with_details) for position, line in sealed.items()],
        "not_sealed": list(not_sealed),
        "nodes": [[level, index, digest.hex()] for level, index, digest in proof_nodes(sealed, seal.size)],
        "seal": head_json(seal),
    }
    with transaction.atomic():
        record(
            "ledger.proof_taken",
            actor=actor,
            connection=next((line.entry.connection for line in sealed.values() if line.entry.connection), None),
            message=message,
            details={
                "format": form,
                "entries": str(len(sealed)),
                "seal": str(seal.number),
                "personal details": "with" if with_details else "without",
            },
        )
    return Proof(data, seal, tuple(sealed.values()), not_sealed)


def _entry(line: Line, position: int, *, with_details: bool) -> dict[str, Any]:
    detail = getattr(line.entry, "detail", None) if with_details else None
    return {
        "position": position,
        "entry": canonical_entry(line.entry).decode(),
        "salt": bytes(detail.salt).hex() if detail else None,
        "fields": dict(detail.fields) if detail else None,
    }
