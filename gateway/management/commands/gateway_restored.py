"""Holds back what the gateway may have sent since a backup was made. The command
`hold_back` runs it, and does the same for the desk.
"""

from datetime import datetime
from typing import Any

from django.core.management import BaseCommand, CommandParser

from gateway.messages.outbox import hold_back
from gateway.models import Account, Email
from gateway.states import Status

# How many emails the output names.
_NAMED = 20


class Command(BaseCommand):
    # Prints what was held back, for the person who restores the backup.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the time of the backup."""
        parser.add_argument(
            "--made-at",
            type=datetime.fromisoformat,
            required=True,
            help="when the backup was made, in UTC",
        )

    def handle(self, *args: Any, made_at: datetime, **options: Any) -> None:
        """Hold mail back and print the result."""
        written_off = hold_back(made_at)
        if written_off:
            self.stdout.write(
                f"{len(written_off)} emails were due and may have been sent since the backup. They are not sent "
                "again (fate_unknown). Check the mail server's log for:"
            )
            for email in written_off[:_NAMED]:
                self.stdout.write(f"  {email}")
            if len(written_off) > _NAMED:
                self.stdout.write(f"  and {len(written_off) - _NAMED} more")
        if Account.objects.filter(is_active=True).exists():
            scheduled = Email.objects.filter(status=Status.SCHEDULED, sandbox=False)
            self.stdout.write(
                "All mail of the gateway is held until somebody releases it on the page /stop/ (hold_all); "
                f"{scheduled.count()} emails are scheduled."
            )
