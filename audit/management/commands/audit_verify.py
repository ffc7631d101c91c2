"""The command `audit_verify`: checks the whole ledger in the database, and prints what
is wrong.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError

from audit.verification.checks import check_database
from audit.verifier.countersign_verify import fingerprint_of

# The most findings that are printed.
_SHOWN = 50
# Exit codes.
NOT_HELD = 1
NOT_SEALED = 3


class Command(BaseCommand):
    """Exits with 0 if the ledger is intact, with 1 if it is not, and with 3 if there is
    no seal to check it against.
    """

    help = "Checks every entry, seal and signature in the database. docs/auditors.md."

    def handle(self, *args: Any, **options: Any) -> None:
        report = check_database(
            lambda entries: self.stderr.write(f"{entries:,} entries")
        )
        for sentence in report.findings[:_SHOWN]:
            self.stdout.write(f"PROBLEM: {sentence}")
        for sentence in report.notes:
            self.stdout.write(f"Note: {sentence}")
        looked = f"{report.entries:,} entries and {report.seals:,} seals were checked"
        if report.findings:
            raise CommandError(
                f"The ledger FAILED verification. {looked}. {report.findings[0]}",
                returncode=NOT_HELD,
            )
        if not report.last:
            raise CommandError(
                f"{looked}, and there is no seal: signatures NOT checked.",
                returncode=NOT_SEALED,
            )
        self.stdout.write(
            f"The ledger is intact: {looked}; {report.unsealed:,} entries are not sealed yet. "
            f"The newest seal is signed with the key {fingerprint_of(report.last.key)}."
        )
