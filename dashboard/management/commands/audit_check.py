"""Checks the whole ledger for one row of Check. The desk runs it; people use
`audit_verify`.
"""

import os
import signal
from typing import Any

from django.core.management import BaseCommand, CommandParser

from audit.verification.checks import LOST_AFTER, run_check
from launcher.orphans import die_with_parent


class Command(BaseCommand):
    """Runs at the lowest priority, and ends with the worker that began it."""

    help = "Checks the whole ledger, as the desk does once a day. You probably want audit_verify."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("check", type=int)

    def handle(self, *args: Any, check: int, **options: Any) -> None:
        die_with_parent(signal.SIGTERM)
        os.nice(10)
        # A check without progress for this long counts as dead, so it must end itself.
        _wait_for_a_sign()
        run_check(check, alive=_wait_for_a_sign)
        signal.alarm(0)


def _wait_for_a_sign() -> None:
    signal.alarm(int(LOST_AFTER.total_seconds()))
