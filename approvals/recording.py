"""Records what happens to a message in the ledger."""

from typing import Any

from audit.models import Entry
from audit.recording import record
from mirror.models import Message
from people.actors import Actor


def record_about(action: str, message: Message, *, actor: Actor, **more: Any) -> Entry:
    """Append an entry on a message, in the caller's transaction, with the words by which a search finds it."""
    return record(
        action,
        actor=actor,
        connection=message.connection_id,
        message=message.public_id,
        words=message.ledger_words(),
        **more,
    )
