"""Notes in the ledger that somebody wanted to decide and was refused."""

from audit.recording import record
from common.postgres.anew import atomic_anew
from mirror.models import Message
from people.actors import Actor


@atomic_anew
def note_refusal(message: Message, *, actor: Actor, outcome: str, sentence: str) -> None:
    """The verdict did not count; the sentence says why."""
    record(
        "verdict.refused",
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        fingerprint=message.revision.fingerprint if message.revision else "",
        details={"outcome": outcome, "explanation": sentence},
        words=message.ledger_words(),
    )
