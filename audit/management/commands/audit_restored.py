"""The command `audit_restored`: an operator confirms that an older state of the
database was restored on purpose, so that the sealer goes on from there.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from audit.sealing import anchors, sealer, signing
from audit.sealing.sealer import LOCK
from audit.sealing.signing import SealingRefused, latest_seal
from common.actors import operator
from common.postgres import try_lock

OPERATOR = operator("audit_restored")


class Command(BaseCommand):
    """Makes a `restored` seal, which begins a new epoch, and which verifiers report."""

    help = "Continues the ledger after an older state of the database was restored: docs/operators/ledger-seals.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--because",
            required=True,
            help="the reason, for everybody who verifies the ledger",
        )
        parser.add_argument(
            "--new-key",
            action="store_true",
            help="sign with the first key in SEAL_KEY, because the previous key is lost; verifiers report this",
        )

    def handle(self, *args: Any, because: str, new_key: bool, **options: Any) -> None:
        if not because.strip():
            raise CommandError(
                "--because needs a reason: people who verify the ledger read it."
            )
        try:
            with transaction.atomic():
                if not try_lock(LOCK):
                    raise CommandError("The sealer is busy. Try again in a moment.")
                last = latest_seal()
                if not last:
                    raise CommandError(
                        "This database has no seals yet, so there is nothing to continue."
                    )
                key = signing.public_key() if new_key else last.expected_key
                if key not in signing.public_keys():
                    raise CommandError(signing.missing_key(key))
                entries = sealer.begin_epoch(
                    last, because=because.strip(), actor=OPERATOR, key=key
                )
        except (SealingRefused, signing.NoKey) as refused:
            raise CommandError(str(refused)) from None
        anchors.write_anchors()
        seal = latest_seal()
        assert seal, "it was just made"
        self.stdout.write(
            f"Seal {seal.number} begins epoch {seal.epoch}: the ledger goes on from here. "
            f"{entries} entries that no seal covered are under it. "
            f"It is signed with {seal.key_fingerprint}."
        )
