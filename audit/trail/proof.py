"""The proof of one message: its sealed entries, with the hashes of their batches and
the seals over them.

docs/ledger.md has its form. It is checked by `countersign_verify.py`; `readable_proof`
makes a page of it for people.
"""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from audit.trail.answers import SealCoverage, answers_of
from audit.trail.entries import lines
from audit.trail.sentences import in_utc
from common.actors import Actor
from common.postgres import clock

VERSION = 2
# What a proof may have, as the verifier has it; a proof of more would be a bundle.
MOST_ENTRIES = 10_000
MOST_HASHES = 200_000
MOST_BYTES = 16 * 1024 * 1024
# A decision is what a proof is wanted for; of other acts, the newest that is no step of
# a program.
_DECISIONS = ("verdict.given",)


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
    data = {
        "v": VERSION,
        "kind": "message",
        "product": "Countersign",
        "made_at": clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "message": str(message),
        "about": _about(shown),
        "batches": list(_batches(seals, sealed, by_number, details)),
        "not_sealed": sorted(by_number.keys() - proved),
    }
    made = Proof(data, seals[-1], tuple(shown), with_details)
    if len(made.as_json().encode()) > MOST_BYTES:
        raise NotProvable(
            "The proof of this message would be too large. Export a bundle of the ledger instead."
        )
    with transaction.atomic():
        record(
            "ledger.proof_taken",
            actor=actor,
            connection=next(
                (line.connection for line in made.lines if line.connection), None
            ),
            message=message,
            details={
                "format": form,
                "entries": str(len(sealed)),
                "seal": str(made.seal.number),
                "personal details": "with" if with_details else "without",
            },
        )
    return made


def _about(found: Sequence[Entry]) -> dict[str, Any]:
    """Return the heading: what the proof is about. The verifier compares it with the
    entry that it names.
    """
    decisions = [entry for entry in found if entry.action in _DECISIONS]
    acts = [entry for entry in found if entry.actor_kind == "person"]
    entry = (decisions or acts or found)[-1]
    return {
        "action": entry.action,
        "actor": f"{entry.actor_kind} {entry.actor_id}",
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "entry": entry.pk,
    }


def _batches(
    seals: Sequence[Seal],
    sealed: Sequence[SealedEntry],
    by_number: dict[int, Entry],
    details: dict[Any, EntryDetail],
) -> Iterator[dict[str, Any]]:
    under = defaultdict(list)
    for one in sealed:
        under[one.seal].append(one)
    for seal in seals:
        first = seal.size - seal.count
        yield {
            "seal": seal.as_json(),
            "hashes": [
                bytes(one).hex()
                for one in SealedEntry.objects.under(seal).values_list(
                    "hash", flat=True
                )
            ],
            "entries": [
                {
                    "index": one.position - first,
                    "entry": canonical_entry(by_number[one.entry]).decode(),
                    "salt": bytes(details[one.entry].salt).hex()
                    if one.entry in details
                    else None,
                    "fields": details[one.entry].fields
                    if one.entry in details
                    else None,
                }
                for one in under[seal.number]
            ],
        }


def readable_proof(proof: Proof) -> str:
    """Return the file."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    coverage = SealCoverage(
        len(proof.lines), len(proof.lines) + len(proof.not_sealed), proof.seal
    )
    context = {
        # The file loads nothing and runs nothing, also where a browser would.
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        # Ours, from our own file.
        "style": SafeString(f"<style>{style}</style>"),
        "message": proof.data["message"],
        "made_at": proof.data["made_at"][:19].replace("T", " "),
        "file": f"countersign-{proof.data['message']}.json",
        "answers": answers_of(proof.lines, coverage) if proof.has_details else (),
        "rows": [
            (line, in_utc(line.at), _details(line) if proof.has_details else {})
            for line in proof.lines
        ],
        "has_details": proof.has_details,
        "not_sealed": proof.not_sealed,
        "seal": proof.seal,
    }
    return render_to_string("audit/readable_proof.html", context)


def _details(line: Entry) -> dict[str, str]:
    return {name: text for name, text in line.details.items() if name != "actor"}


@cache
def _style() -> str:
    return (Path(settings.BASE_DIR) / "static/css/proof.css").read_text(
        encoding="utf-8"
    )
