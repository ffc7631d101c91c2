"""The proof of one message: its sealed entries, with the hashes of their batches and
the seals over them.

docs/ledger.md has its form. It is checked by `countersign_verify.py`; `readable_proof`
makes a page of it for people.
"""

import base64
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from audit.models import Entry, EntryDetail, Seal, SealedEntry
from audit.recording import canonical_entry, record
from audit.trail import lines
from audit.trail.answers import SealCoverage, answers_of
from audit.trail.sentences import in_utc
from common.actors import Actor
from common.postgres import clock

VERSION = 2
# What a proof may have, as the verifier has it; a proof of more would be a bundle.
MOST_ENTRIES = 10_000
MOST_HASHES = 200_000
MOST_BYTES = 16 * 1024 * 1024


class NotProvable(Exception):
    """There is no proof of this message; the sentence says why."""


@dataclass(frozen=True)
class Proof:
    """A proof, and the lines that it is about."""

    data: dict[str, Any]
    # The newest seal.
    seal: Seal
    lines: tuple[Entry, ...]
    has_details: bool

    @property
    def not_sealed(self) -> list[int]:
        """The numbers of later entries, which nothing proves."""
        return list(self.data["not_sealed"])

    def as_json(self) -> str:
        """Return the proof as a file."""
        return json.dumps(self.data, ensure_ascii=False, indent=1) + "\n"


def prove(
    message: UUID, *, actor: Actor, form: str, with_details: bool = True
) -> Proof:
    """Return the proof of one message as it is now, and record who took it. Raises
    NotProvable.
    """
    found = lines(Entry.objects.of_message(message).oldest_first()[: MOST_ENTRIES + 1])
    if len(found) > MOST_ENTRIES:
        raise NotProvable(
            f"This message has more than {MOST_ENTRIES:,} entries. Export a bundle of the ledger instead."
        )
    by_number = {line.pk: line for line in found}
    sealed = list(
        SealedEntry.objects.filter(entry__in=list(by_number)).order_by("position")
    )
    if not sealed:
        raise NotProvable(
            "No entry of this message is sealed yet. Try again in a few seconds."
        )
    seals = list(
        Seal.objects.filter(number__in={one.seal for one in sealed}).order_by("number")
    )
    if sum(seal.count for seal in seals) > MOST_HASHES:
        raise NotProvable(
            "The entries of this message are under too many seals. Export a bundle of the ledger instead."
        )
    shown = [by_number[one.entry] for one in sealed]
    proved = {one.entry for one in sealed}
    details = EntryDetail.objects.defer("words").in_bulk(proved) if with_details else {}
    placed: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in sealed:
        detail = details.get(one.entry)
        entry: dict[str, Any] = {
            "index": one.position,
            "entry": canonical_entry(by_number[one.entry]).decode(),
            "salt": bytes(detail.salt).hex() if detail else None,
            "fields": detail.fields if detail else None,
        }
        placed[one.seal].append(entry)
    batches = []
    for seal in seals:
        for entry in placed[seal.number]:
            entry["index"] -= seal.size - seal.count
        hashes = SealedEntry.objects.under(seal)
        batch = {
            "seal": seal.as_json(),
            "hashes": [bytes(one).hex() for one in hashes],
            "entries": placed[seal.number],
        }
        batches.append(batch)
    # The heading, which the verifier compares with the entry that it names. A decision
    # is what a proof is wanted for; of other acts, the newest that is no step of a
    # program.
    decisions = [line for line in shown if line.action == "verdict.given"]
    acts = [line for line in shown if line.actor_kind == "person"]
    about = (decisions or acts or shown)[-1]
    data = {
        "v": VERSION,
        "kind": "message",
        "product": "Countersign",
        "made_at": clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "message": str(message),
        "about": {
            "action": about.action,
            "actor": f"{about.actor_kind} {about.actor_id}",
            "at": about.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "entry": about.pk,
        },
        "batches": batches,
        "not_sealed": sorted(by_number.keys() - proved),
    }
    made = Proof(data, seals[-1], tuple(shown), with_details)
    if len(made.as_json().encode()) > MOST_BYTES:
        raise NotProvable(
            "The proof of this message would be too large. Export a bundle of the ledger instead."
        )
    connections = (line.connection for line in shown if line.connection)
    with transaction.atomic():
        record(
            "ledger.proof_taken",
            actor,
            connection=next(connections, None),
            message=message,
            details={
                "format": form,
                "entries": str(len(sealed)),
                "seal": str(made.seal.number),
                "personal details": "with" if with_details else "without",
            },
        )
    return made


def readable_proof(proof: Proof) -> str:
    """Return the file."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sealed = len(proof.lines)
    coverage = SealCoverage(sealed, sealed + len(proof.not_sealed), proof.seal)
    rows = []
    for line in proof.lines:
        details = dict(line.details) if proof.has_details else {}
        details.pop("actor", None)
        rows.append((line, in_utc(line.at), details))
    context = {
        # The file loads nothing and runs nothing, also where a browser would.
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        # Ours, from our own file.
        "style": SafeString(f"<style>{style}</style>"),
        "message": proof.data["message"],
        "made_at": proof.data["made_at"][:19].replace("T", " "),
        "file": f"countersign-{proof.data['message']}.json",
        "answers": answers_of(proof.lines, coverage) if proof.has_details else (),
        "rows": rows,
        "has_details": proof.has_details,
        "not_sealed": proof.not_sealed,
        "seal": proof.seal,
    }
    return render_to_string("audit/readable_proof.html", context)


@cache
def _style() -> str:
    path = Path(settings.BASE_DIR) / "static/css/proof.css"
    return path.read_text(encoding="utf-8")
