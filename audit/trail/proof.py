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
from audit.trail.answers import answers_of
from audit.trail.sentences import in_utc, plain
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
    """A proof as the text of its file, and what it is about."""

    text: str
    message: UUID
    # The newest seal.
    seal: Seal
    lines: list[Entry]
    # The numbers of later entries, which nothing proves.
    not_sealed: list[int]
    has_details: bool


def prove(
    message: UUID, *, actor: Actor, form: str, with_details: bool = True
) -> Proof:
    """Return the proof of one message as it is now, and record who took it in which
    form. Raises NotProvable.
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
    data: dict[str, Any] = {
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
    text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
    if len(text.encode()) > MOST_BYTES:
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
                "seal": str(seals[-1].number),
                "personal details": "with" if with_details else "without",
            },
        )
    return Proof(text, message, seals[-1], shown, data["not_sealed"], with_details)


def readable_proof(proof: Proof) -> str:
    """Return the page of a proof, as one file."""
    style = (Path(settings.BASE_DIR) / "static/css/proof.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rows = []
    for line in proof.lines:
        details = dict(line.details) if proof.has_details else {}
        details.pop("actor", None)
        rows.append((line, in_utc(line.at), details))
    answers = [
        (question, [plain(one) for one in sentences])
        for question, sentences in answers_of(proof.lines)
    ]
    context = {
        # The file loads nothing and runs nothing, also where a browser would.
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        # Ours, from our own file.
        "style": SafeString(f"<style>{style}</style>"),
        "proof": proof,
        "made_at": in_utc(clock()),
        "answers": answers if proof.has_details else (),
        "rows": rows,
    }
    return render_to_string("audit/readable_proof.html", context)
