"""The proof of one message: its sealed entries, with the hashes of their batches and
the seals over them.

docs/ledger.md has its form. It is checked by `countersign_verify.py`.
"""

import json
from collections import defaultdict
from datetime import UTC
from typing import Any
from uuid import UUID

from django.db import transaction

from audit.models import Entry, EntryDetail, Seal, SealedEntry
from audit.recording import canonical_entry, record
from audit.trail import lines
from common.actors import Actor
from common.postgres import clock

VERSION = 2
# What a proof may have, as the verifier has it; a proof of more would be a bundle.
MOST_ENTRIES = 10_000
MOST_HASHES = 200_000
MOST_BYTES = 16 * 1024 * 1024


class NotProvable(Exception):
    """There is no proof of this message; the sentence says why."""


def prove(message: UUID, *, actor: Actor, with_details: bool = True) -> str:
    """Return the proof of one message as it is now, as the text of its file, and record
    who took it. Raises NotProvable.
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
                "entries": str(len(sealed)),
                "seal": str(seals[-1].number),
                "personal details": "with" if with_details else "without",
            },
        )
    return text
