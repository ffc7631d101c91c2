"""The command that removes the personal details of one message, if somebody asks for
it. docs/auditors.md says what stays, and why.
"""

from typing import Any
from uuid import UUID

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from alerts.deliveries.erasing import erase_bodies
from audit.models import Entry
from audit.retention import list_details_of, removable, remove_listed
from audit.sealing.sealer import seal_all
from common.actors import operator
from mirror.errors import ActNotAllowed
from mirror.models import Message
from mirror.sync.retention import Copies, remove_copies

ACTOR = operator("audit_erase")
_STAYS = (
    "What stays: the entries, with hashes that reveal nothing; and in the mirror the message with its "
    "versions, edits, verdicts, comments and cards, which show what was decided. "
    "Copies in MultiMail, Discord, exports, bundles and backups are not removed."
)


class Command(BaseCommand):
    """Seals the ledger before and after it lists the details to remove: only sealed
    details are removed, and only by a list that is sealed.
    """

    help = "Removes the personal details of one message from the ledger, and the mirror's copies beside its record."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take a message and a reason."""
        parser.add_argument(
            "--message",
            type=UUID,
            required=True,
            help="the id in the address of the message's page",
        )
        parser.add_argument(
            "--because",
            required=True,
            help="the reason; it stays in the ledger, so name nobody",
        )

    def handle(self, *args: Any, message: UUID, because: str, **options: Any) -> None:
        """Remove the details, and print what was removed and what was not."""
        if not because.strip():
            raise CommandError(
                "Give a reason, for people who find the details missing."
            )
        seal_all()
        try:
            copies, deliveries = _erase(message, because.strip())
        except ActNotAllowed as error:
            raise CommandError(error.sentence) from None
        details = removable().filter(entry__message=message)
        before = details.count()
        seal_all()
        remove_listed()
        left = details.count()
        self.stdout.write(
            f"Removed the details of {before - left} entries of {message}."
        )
        if copies is not None:
            self.stdout.write(
                f"Removed from the mirror: the bytes of {copies.files} files, {copies.pictures} remote pictures, "
                f"{copies.webhooks} webhooks as they came, {copies.threads} thread; "
                f"and what {deliveries} deliveries of alerts told, with the answers to them."
            )
        self.stdout.write(_STAYS)
        if left:
            raise CommandError(
                f"{left} entries keep their details, because they, or the list of them, are not sealed yet. Run this "
                "again in a minute. If entries are still not sealed, ./run manage doctor says what blocks sealing."
            )


@transaction.atomic
def _erase(public_id: UUID, because: str) -> tuple[Copies | None, int]:
    message = (
        Message.objects.select_for_update(of=("self",))
        .filter(public_id=public_id)
        .first()
    )
    if message is None and not Entry.objects.of_message(public_id).exists():
        raise CommandError(
            f"Neither the ledger nor the mirror knows a message {public_id}."
        )
    copies = remove_copies(message) if message else None
    deliveries = erase_bodies(message) if message else 0
    connection = message.connection_id if message else None
    list_details_of(public_id, because=because, actor=ACTOR, connection=connection)
    return copies, deliveries
