"""Shows whether loosening waits for a second admin, and switches that off where no
second admin is left.
"""

from typing import Any

from django.core.management import BaseCommand, CommandParser

from common.actors import operator
from people.second_admin.registry import is_second_admin_on
from people.second_admin.setting import switch_off_by_operator


class Command(BaseCommand):
    # Cannot switch it on: an admin does that on a page.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--off",
            action="store_true",
            help="switch it off; the ledger says that an operator did",
        )

    def handle(self, *args: Any, off: bool, **options: Any) -> None:
        if off:
            switch_off_by_operator(actor=operator("second_admin"))
        words = (
            "Loosening waits for a second admin."
            if is_second_admin_on()
            else "Loosening applies at once."
        )
        self.stdout.write(words)
