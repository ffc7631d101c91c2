"""Notes that a list was taken out of the desk as a file."""

from django.db import transaction

from audit.recording import record
from people.actors import Actor
from policy.allowlists.scopes import ListAt


@transaction.atomic
def note_export(*, at: ListAt, actor: Actor, number: int, text: str, show: str) -> None:
    """Write into the ledger who took how many entries of which list."""
    mailbox = at.row.mailbox if at.row else None
    record(
        "allowlist.exported",
        actor=actor,
        connection=mailbox.connection_id if mailbox else at.place.connection,
        details={
            "scope": at.label,
            "list": at.kind,
            "entries": str(number),
            "search": text,
            "filter": show,
        },
    )
