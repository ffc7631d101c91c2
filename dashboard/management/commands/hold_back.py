"""Holds back what may have been sent since a backup was made. `./run restore` does so
by itself.
"""

from datetime import UTC, datetime
from typing import Any

from django.core.management import BaseCommand, CommandParser, call_command

from common.actors import Role, operator
from dashboard.backup.hold_back import hold_back

OPERATOR = operator("restore", Role.ADMIN)


class Command(BaseCommand):
    """Run it by hand, before the desk is started, if the database was restored by other
    means.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--made-at",
            type=_moment,
            required=True,
            help="when the backup was made, in UTC",
        )

    def handle(self, *args: Any, made_at: datetime, **options: Any) -> None:
        held = hold_back(made_at=made_at, actor=OPERATOR)
        call_command(
            "gateway_restored", "--made-at", made_at.isoformat(), stdout=self.stdout
        )
        self.stdout.write(
            f"Decisions under way: {held.doubtful}. They stay unconfirmed until MultiMail is read; an approval whose "
            "message is still held is only sent again when a person confirms it.\n"
            f"Paused connections: {held.paused}. Marked messages: {held.marked}; they may have been sent since. "
            "Compare with the mail server's log, then resume each connection on its page."
        )


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
