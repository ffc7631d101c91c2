"""The command `audit_export`: writes a bundle of the whole ledger into a folder or a
.zip file, which auditors can check without the desk.
"""

from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from audit.recording import record
from audit.sealing.sealer import seal_all
from audit.verification.bundle import BundleFailed, write_bundle
from common.actors import operator

OPERATOR = operator("audit_export")


class Command(BaseCommand):
    """Records the export, so that a failed one is recorded too; then writes it."""

    help = "Writes a bundle of the whole ledger: entries, details, seals, keys and the verifier. docs/auditors.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--to", required=True, help="a new folder, or a file name ending in .zip"
        )
        parser.add_argument(
            "--without-details",
            action="store_true",
            help="leave out names, subjects and addresses",
        )
        parser.add_argument("--because", default="", help="the reason, for the ledger")

    def handle(
        self, *args: Any, to: str, without_details: bool, because: str, **options: Any
    ) -> None:
        target = Path(to).absolute()
        details = {
            "file": target.name,
            "details": "left out" if without_details else "included",
            "reason": because,
        }
        with transaction.atomic():
            record("ledger.bundled", OPERATOR, details=details)
        # So that a seal in the bundle covers all entries until now.
        seal_all()
        try:
            made = write_bundle(
                target,
                details=not without_details,
                progress=lambda entries: self.stderr.write(f"{entries:,} entries"),
            )
        except BundleFailed as failed:
            raise CommandError(str(failed)) from None
        self.stdout.write(
            f"{target} holds {made.entries:,} entries and {made.seals:,} seals; "
            f"{made.unsealed:,} entries are not sealed yet."
        )
        if made.fingerprint:
            self.stdout.write(
                f"The newest seal is signed with the key {made.fingerprint}."
            )
        else:
            self.stdout.write(
                "There is no seal yet, so the bundle proves nothing: SEAL_KEY is not set."
            )
