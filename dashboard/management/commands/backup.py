"""Makes a backup of everything in one file, while the desk works.
docs/operators/backup.md.
"""

import time
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction

from audit.recording import record
from common.actors import operator
from dashboard.backup.archive import BackupError, read_passphrase
from dashboard.backup.whole import write_backup
from dashboard.health.checks import applied_migrations
from dashboard.models import BACKUP, Tick

OPERATOR = operator("backup")


class Command(BaseCommand):
    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="where to write it; must not exist")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        path = file.expanduser().absolute()

        def note() -> None:
            # Before the dump, so that the dump contains it.
            with transaction.atomic():
                record("backup.made", actor=OPERATOR, details={"file": path.name})

        try:
            if not applied_migrations():
                raise BackupError(
                    "There is nothing to back up: no desk has ever used this database."
                )
            facts = write_backup(path, read_passphrase(is_new=True), before_dump=note)
        except BackupError as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"PostgreSQL: {str(error).splitlines()[0]}") from None
        # For the age of the newest backup, only one that is complete counts.
        Tick.objects.create(job=BACKUP, period=time.time_ns())
        sealed = "without a seal"
        if seal := facts["seal"]:
            sealed = f"sealed up to entry {seal['size']:,} by seal {seal['number']:,}"
        moment = facts["made_at"][:19].replace("T", " ")
        self.stdout.write(
            f"{path} holds the desk as of {moment} UTC: {facts['entries']:,} entries of the ledger, {sealed}; "
            f"{path.stat().st_size / 1e6:,.1f} MB.\n"
            "Its keys are encrypted with the passphrase, without which it cannot be restored; messages, people and the "
            "ledger are not. Keep it where only you can read it, and the passphrase elsewhere."
        )
