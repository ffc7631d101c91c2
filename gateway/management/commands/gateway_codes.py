"""Shows an operator the requests at the gateway that wait for a one-time code, with the
codes to pass on.
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
                request,
                f"{request.mailbox.address}: from {request.mailbox.oversight_mode} to {request.target_mode}",
            )
            for request in upgrades
        ]
        lines += [
            _line(request, f"{request.account.name}: {request.summary}")
            for request in approvals
        ]
        self.stdout.write("\n".join(lines) or "Nothing is waiting for a code.")


def _line(request: UpgradeRequest | ApprovalRequest, what: str) -> str:
    until = localtime(request.expires_at).strftime("%Y-%m-%d %H:%M")
    # Text that a client wrote is escaped, because it goes to a terminal.
    return f"{request.code}  until {until} UTC  {_plain(what)}  (requested by {_plain(request.requested_by_key.name)})"


def _plain(text: str) -> str:
    plain = ""
    for character in text:
        plain += character if character.isprintable() else ascii(character)[1:-1]
    return plain
