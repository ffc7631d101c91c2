"""Sets and shows the limits of a gateway account: emails a month and a day, mailboxes,
and oversight.
"""

from argparse import SUPPRESS, ArgumentTypeError
from typing import Any

from django.core.management import BaseCommand, CommandParser
from django.db import transaction

from gateway import auditing
from gateway.management.accounts import account_named
from gateway.models import Account
from gateway.states import Mode

# By option: the column of the account, and what it limits.
_LIMITS = {
    "monthly_quota": ("monthly_email_quota", "live emails a calendar month"),
    "warmup": ("warmup_daily_limit", "live emails a day while it warms up"),
    "max_mailboxes": ("max_mailboxes", "mailboxes"),
}


class Command(BaseCommand):
    # Changes only the options given, and shows all limits.

    # The docstring of the module.
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--account", required=True, metavar="SLUG", help="the account, such as acme"
        )
        for option, (_, what) in _LIMITS.items():
            parser.add_argument(
                f"--{option.replace('_', '-')}",
                type=_number,
                # None means that there is no limit.
                default=SUPPRESS,
                metavar="N",
                help=f"{what}, or none",
            )
        parser.add_argument(
            "--minimum-mode",
            choices=[*Mode.values, "none"],
            help="the loosest oversight mode that a mailbox can be given, or none; what is looser already stays so",
        )

    @transaction.atomic
    def handle(self, *args: Any, account: str, **options: Any) -> None:
        owner = account_named(account, Account.objects.select_for_update(no_key=True))
        changes = {
            column: options[option]
            for option, (column, _) in _LIMITS.items()
            if option in options
        }
        if mode := options["minimum_mode"]:
            changes["minimum_oversight_mode"] = "" if mode == "none" else mode
        if changes:
            owner.save_fields(**changes)
            auditing.record("account.limits", owner, **changes)
        shown = {what: getattr(owner, column) for column, what in _LIMITS.values()}
        shown["loosest oversight mode"] = owner.minimum_oversight_mode or None
        for what, limit in shown.items():
            self.stdout.write(f"{what:38} {limit}")


def _number(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ArgumentTypeError(f"must be a whole number or none, not {text!r}")
    return int(text)
