"""Checks the whole ledger in the database, and names what does not hold."""

from typing import Any

from django.core.management import BaseCommand, CommandError

from audit.verification.database import check_database

# The most findings that are printed.
_SHOWN = 50
NOT_HELD = 1
NOT_SEALED = 3


class Command(BaseCommand):
    """Ends with 0 if it holds, with 1 and the first bad entry if not, with 3 if there is no seal to check against."""

    help = "Checks every entry, seal and signature in the database. docs/auditors.md."

    def handle(self, *args: Any, **options: Any) -> None:
        result = check_database(lambda entries: self.stderr.write(f"{entries:,} entries"))
        for sentence in result.findings[:_SHOWN]:
            self.stdout.write(f"PROBLEM: {sentence}")
        for sentence in result.notes:
            self.stdout.write(f"Note: {sentence}")
        looked = f"{result.entries:,} entries and {result.seals:,} seals were checked"
        if not result.holds:
            raise CommandError(f"The ledger FAILED verification. {looked}. {result.findings[0]}", returncode=NOT_HELD)
        if not result.seals:
            raise CommandError(f"{looked}, and there is no seal: signatures NOT checked.", returncode=NOT_SEALED)
        self.stdout.write(
            f"The ledger is intact: {looked}; {result.unsealed:,} entries are not sealed yet. "
            f"The newest seal is signed with the key {result.fingerprint}."
        )
