"""The command that checks the whole ledger for one row of Check. A worker of the desk
runs it; people use `audit_verify`.
"""

import os
import signal
from typing import Any

from django.core.management import BaseCommand, CommandParser

from audit.verification.checks import LOST_AFTER, run_check
from launcher.orphans import die_with_parent


class Command(BaseCommand):
    """Runs with the lowest priority, and ends when the worker that began it ends."""

    help = "Checks the whole ledger, as the desk does once a day. You probably want audit_verify."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("check", type=int)

    def handle(self, *args: Any, check: int, **options: Any) -> None:
        die_with_parent(signal.SIGTERM)
        os.nice(10)
        # A check without progress for LOST_AFTER counts as lost, so it must end by
        # then.
        _restart_alarm()
        run_check(check, alive=_restart_alarm)
        signal.alarm(0)


def _restart_alarm() -> None:
    signal.alarm(int(LOST_AFTER.total_seconds()))
