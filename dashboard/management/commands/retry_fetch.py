"""Tries again to fetch the contents of messages that the desk has given up on, for
instance after an update.
"""

from typing import Any
from uuid import UUID

from django.core.management import BaseCommand, CommandError, CommandParser

from approvals import tasks
from common.actors import Role, operator
from mirror.models import Message
from mirror.sync.rows import retry_fetch

ACTOR = operator("retry_fetch", Role.ADMIN)


class Command(BaseCommand):
    """Tries all of them again, or only the messages that are named."""

    help = "Fetches contents again that the desk gave up on. Name messages by the id in the address of their page."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take ids."""
        parser.add_argument("message", nargs="*", type=UUID)

    def handle(self, *args: Any, message: list[UUID], **options: Any) -> None:
        """Reset the count of tries, and wake the workers."""
        given_up = list(
            Message.objects.unfetchable().values_list("public_id", flat=True)
        )
        if unknown := set(message) - set(given_up):
            raise CommandError(
                f"The desk has not given up on: {', '.join(map(str, sorted(unknown)))}."
            )
        for public_id in message or given_up:
            tasks.hydrate.delay_on_commit(
                retry_fetch(message=public_id, actor=ACTOR).pk
            )
        self.stdout.write(f"{len(message or given_up)} to fetch again.")
