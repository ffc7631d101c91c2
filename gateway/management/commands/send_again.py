"""Tries again at once what waits for the next try because the mail server did not take
it. Run it when the cause is repaired. What the mail server may have is never sent again.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db.models.functions import Now

from gateway.messages.waiting import note_waiting
from gateway.models import Email


class Command(BaseCommand):
    # Makes messages due; workers send them.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "message", nargs="?", default="", help="the id of one message; else all"
        )

    def handle(self, *args: Any, message: str, **options: Any) -> None:
        waiting = Email.objects.waiting().filter(due_at__gt=Now())
        if message:
            waiting = waiting.filter(pk=message)
        number = waiting.update(due_at=Now())
        if message and not number:
            raise CommandError(
                f"{message} does not wait for a next try: its status says what happened to it."
            )
        note_waiting()
        self.stdout.write(f"Messages that are tried again now: {number}")
