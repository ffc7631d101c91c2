"""Sets and shows the limits of a gateway account: emails a month and a day, mailboxes,
requests, and oversight.
"""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management import BaseCommand, CommandParser
from django.db import transaction

from gateway import auditing
from gateway.management.accounts import account_named
from gateway.models import Account
from gateway.states import Mode

# Option, column, what it limits.
_LIMITS = (
    ("monthly_quota", "monthly_email_quota", "live emails a calendar month"),
    ("max_mailboxes", "max_mailboxes", "mailboxes"),
    ("requests_per_minute", "requests_per_minute", "requests of one key a minute"),
)
_MOST = 2**31 - 1


class Command(BaseCommand):
    """Changes only the options given; without any it shows the limits."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--account", required=True, metavar="SLUG", help="the account, such as acme"
        )
        for option, _, what in _LIMITS:
            parser.add_argument(
                f"--{option.replace('_', '-')}",
                type=_number,
                metavar="N",
                help=f"{what}, or none",
            )
        parser.add_argument(
            "--warmup",
            type=_warmup,
            metavar="STAGE:N",
            help="stage of the warm-up and live emails a day in it, such as 2:50; or none",
        )

        parser.add_argument(
            "--minimum-mode",
            choices=[*Mode.values, "none"],
            help="the loosest oversight mode that a mailbox can be given, or none; what is looser already stays so",
        )

    @transaction.atomic
    def handle(self, *args: Any, account: str, **options: Any) -> None:
        found = account_named(account, Account.objects.select_for_update(no_key=True))
        changes: dict[str, Any] = {}
        for option, column, _ in _LIMITS:
            if options[option] is not None:
                changes[column] = None if options[option] == "none" else options[option]
        if options["minimum_mode"] is not None:
            changes["minimum_oversight_mode"] = (
                "" if options["minimum_mode"] == "none" else options["minimum_mode"]
            )
        if options["warmup"] is not None:
            changes["warmup_stage"], changes["warmup_daily_limit"] = options["warmup"]
        if changes:
            found.save_fields(**changes)
            auditing.record("account.limits", found, **changes)
        shown = {what: getattr(found, column) for _, column, what in _LIMITS}
        stage = f"{found.warmup_daily_limit} (warm-up, stage {found.warmup_stage})"
        shown["live emails a day"] = stage if found.warms_up else None
        shown["loosest oversight mode"] = found.minimum_oversight_mode or None
        for what, limit in shown.items():
            self.stdout.write(
                f"{what:34} {'none of its own' if limit is None else limit}\n"
            )


def _number(text: str) -> int | str:
    if text == "none":
        return text
    if not (text.isascii() and text.isdecimal() and int(text) <= _MOST):
        raise ArgumentTypeError(f"must be a whole number or none, not {text!r}")
    return int(text)


def _warmup(text: str) -> tuple[int, int | None]:
    if text == "none":
        return 0, None
    stage, _, limit = text.partition(":")
    numbers = all(part.isascii() and part.isdecimal() for part in (stage, limit))
    if not (numbers and 1 <= int(stage) <= 100 and int(limit) <= _MOST):
        raise ArgumentTypeError(f"must be STAGE:N, such as 2:50, or none, not {text!r}")
    return int(stage), int(limit)
