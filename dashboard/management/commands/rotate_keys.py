"""Encrypts the stored secrets with the newest key of ENCRYPTION_KEYS.
docs/operators/keys.md has the three steps.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from audit.recording import record
from common.actors import operator
from dashboard.secrets_at_rest import look, rotate

ACTOR = operator("rotate_keys")


class Command(BaseCommand):
    """Only changes how secrets are stored. The product may run meanwhile, and the
    command can be repeated.
    """

    help = "Encrypts every stored secret with the first of ENCRYPTION_KEYS. --check only counts those that are not yet."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take --check."""
        parser.add_argument(
            "--check",
            action="store_true",
            help="change nothing; say how many use older keys",
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        """Rotate the keys, or only check."""
        if check:
            found = look()
            self.stdout.write(
                f"{_number(found.secrets, 'secret')}, {found.older} of them with an older key."
            )
            self.stdout.write(
                "Run ./run manage rotate_keys, and keep the older keys until then."
                if found.older
                else "Older keys can be removed from ENCRYPTION_KEYS."
            )
            return
        done = rotate(report=self.stdout.write)
        renewed = f"{_number(done.older, 'secret')} in {_number(done.rows, 'row')}"
        if done.rows:
            with transaction.atomic():
                record(
                    "secrets.rotated",
                    actor=ACTOR,
                    details={"explanation": f"{renewed}."},
                )
        if done.unreadable:
            raise CommandError(
                f"No key in ENCRYPTION_KEYS can read what is stored in: {', '.join(done.unreadable)}. Add the key that "
                "it was written with and run this again, or enter these secrets again."
            )
        if not done.older:
            self.stdout.write(f"All {done.secrets} secrets already use the newest key.")
            return
        self.stdout.write(
            f"Encrypted again: {renewed}. Remove older keys from ENCRYPTION_KEYS once --check says 0."
        )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
