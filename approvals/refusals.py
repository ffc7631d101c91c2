"""Notes in the ledger that somebody wanted to decide and was refused."""

from django.db import transaction

from approvals.models import Message
from audit.recording import record
from people.actors import Actor


@transaction.atomic
def note_refusal(message: Message, *, actor: Actor, outcome: str, sentence: str) -> None:
    """The verdict did not count; the sentence says why."""
    record(
        "verdict.refused",
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        fingerprint=message.revision.fingerprint if message.revision else "",
        details={"outcome": outcome, "explanation": sentence},
    )
