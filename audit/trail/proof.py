"""Makes the proof of one message: a JSON file with its sealed entries, the hashes of
all entries of their batches, and the seals over these.

docs/ledger.md describes the file, and `countersign_verify.py` checks it.
`readable_proof` makes an HTML page of it for people.
"""

import base64
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from audit.models import Entry, EntryDetail, Seal, SealedEntry, written_time
from audit.recording import canonical_entry, record
from audit.trail import lines
from audit.trail.answers import answers_of
from audit.trail.sentences import in_utc, plain
from common.actors import Actor
from common.postgres import clock

VERSION = 2
# The verifier's limits for a proof. A message with more needs a bundle of the ledger.
MOST_ENTRIES = 10_000
MOST_HASHES = 200_000
MOST_BYTES = 16 * 1024 * 1024


class NotProvable(Exception):
    """No proof of this message can be made; the message says why."""


@dataclass(frozen=True)
class Proof:
    """A proof: the text of its file, and the entries in it (`lines`)."""

    text: str
    message: UUID
    # The newest of the seals in it.
    seal: Seal
    lines: list[Entry]
    # The numbers of entries of the message that are not sealed yet, so not proved.
    not_sealed: list[int]
    has_details: bool


def prove(
    message: UUID, *, actor: Actor, form: str, with_details: bool = True
) -> Proof:
    """Return the proof of one message as it is now, and record that the actor took it.
    `form` is "json" or "html". Raises NotProvable.
    """
    of_message = lines(
        Entry.objects.of_message(message).oldest_first()[: MOST_ENTRIES + 1]
    )
    if len(of_message) > MOST_ENTRIES:
        raise NotProvable(
            f"This message has more than {MOST_ENTRIES:,} entries. Export a bundle of the ledger instead."
        )
    by_number = {line.pk: line for line in of_message}
    sealed = list(SealedEntry.objects.filter(entry__in=by_number).order_by("position"))
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
    proved_lines = [by_number[one.entry] for one in sealed]
    proved = {one.entry for one in sealed}
    details = EntryDetail.objects.defer("words").in_bulk(proved) if with_details else {}
    entries_by_seal = defaultdict[int, list[dict[str, Any]]](list)
    for one in sealed:
        detail = details.get(one.entry)
        entries_by_seal[one.seal].append(
            {
                "index": one.position,
                "entry": canonical_entry(by_number[one.entry]).decode(),
                "salt": bytes(detail.salt).hex() if detail else None,
                "fields": detail.fields if detail else None,
            }
        )
    batches = []
    for seal in seals:
        for entry in entries_by_seal[seal.number]:
            entry["index"] -= seal.size - seal.count
        hashes = SealedEntry.objects.under(seal)
        batches.append(
            {
                "seal": seal.as_json(),
                "hashes": [bytes(one).hex() for one in hashes],
                "entries": entries_by_seal[seal.number],
            }
        )
    # The entry for the proof's heading, which the verifier compares with the heading.
    # That is the newest decision; without one, the newest act of a person, or the last
    # entry.
    decisions = [line for line in proved_lines if line.action == "verdict.given"]
    acts = [line for line in proved_lines if line.actor_kind == "person"]
    heading = (decisions or acts or proved_lines)[-1]
    data: dict[str, Any] = {
        "v": VERSION,
        "kind": "message",
        "product": "Countersign",
        "made_at": written_time(clock()),
        "message": str(message),
        "about": {
            "action": heading.action,
            "actor": f"{heading.actor_kind} {heading.actor_id}",
            "at": written_time(heading.at),
            "entry": heading.pk,
        },
        "batches": batches,
        "not_sealed": sorted(by_number.keys() - proved),
    }
    text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
    if len(text.encode()) > MOST_BYTES:
        raise NotProvable(
            "The proof of this message would be too large. Export a bundle of the ledger instead."
        )
    connections = (line.connection for line in proved_lines if line.connection)
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
    return Proof(
        text, message, seals[-1], proved_lines, data["not_sealed"], with_details
    )


def readable_proof(proof: Proof) -> str:
    """Return a proof as an HTML page in one file, for people."""
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
        # Forbids the browser to load or run anything, whatever is in the file.
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        # Safe: it is our own file.
        "style": SafeString(f"<style>{style}</style>"),
        "proof": proof,
        "made_at": in_utc(clock()),
        "answers": answers if proof.has_details else (),
        "rows": rows,
    }
    return render_to_string("audit/readable_proof.html", context)
