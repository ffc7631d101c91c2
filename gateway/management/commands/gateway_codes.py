"""Shows an operator what waits for a one-time code at the gateway, and the codes to
pass on.
"""

from typing import Any

from django.core.management import BaseCommand
from django.utils.timezone import localtime

from gateway.models import ApprovalRequest, UpgradeRequest


class Command(BaseCommand):
    """For operators. The API shows upgrade codes to admin keys, and approval codes to
    nobody.
    """

    help = "Lists the requests at the gateway that are waiting for a one-time code, with the codes."

    def handle(self, *args: Any, **options: Any) -> None:
        upgrades = UpgradeRequest.objects.waiting().select_related(
            "mailbox", "requested_by_key"
        )
        approvals = ApprovalRequest.objects.waiting().select_related(
            "account", "requested_by_key"
        )
        lines = [
            _line(
                one,
                f"{one.mailbox.address}: from {one.mailbox.oversight_mode} to {one.target_mode}",
            )
            for one in upgrades
        ]
        lines += [_line(one, f"{one.account.name}: {one.summary}") for one in approvals]
        self.stdout.write("\n".join(lines) or "Nothing is waiting for a code.")


def _line(one: UpgradeRequest | ApprovalRequest, what: str) -> str:
    until = localtime(one.expires_at).strftime("%Y-%m-%d %H:%M")
    # What a client wrote is escaped: this ends in a terminal.
    return f"{one.code}  until {until} UTC  {_plain(what)}  (requested by {_plain(one.requested_by_key.name)})"


def _plain(text: str) -> str:
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in text
    )
