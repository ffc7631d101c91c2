"""Creates a gateway account with its first mailbox and its keys, and prints the keys
once.
"""

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils.text import slugify

from common.mail_addresses import ascii_address, domain_of
from common.tables import table_rows
from gateway.accounts import new_key_text, register_key
from gateway.mailboxes import make_mailbox
from gateway.models import Account, Domain, Mailbox
from gateway.states import Mode

# What it is for, which is its name too; scopes; sandbox. The programs of MultiMail's
# pages list with the key that sends what is held.
_KEYS = """
agent             | read send oversight_read |
sandbox agent     | read send oversight_read | sandbox
oversight         | oversight                |
sandbox oversight | oversight                | sandbox
read              | read                     |
admin             | admin read               |
"""


class Command(BaseCommand):
    """Refuses a name or an address that is taken, so that nobody gets keys to another
    account.
    """

    help = "Creates a gateway account with its first mailbox and its keys, and prints the keys once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name", required=True, help="the account's name, such as 'Acme'"
        )
        parser.add_argument(
            "--address",
            default="",
            help="the first mailbox; default agent@ACCOUNT.example",
        )
        parser.add_argument(
            "--display-name", default="", help="what recipients see as the sender"
        )
        parser.add_argument(
            "--mode", choices=Mode.values, default=Mode.GATED_SEND.value
        )
        parser.add_argument("--oversight-email", default="")

    @transaction.atomic
    def handle(self, *args: Any, name: str, address: str, **options: Any) -> None:
        slug = slugify(name)[:60]
        if not slug:
            raise CommandError("The name needs letters or digits.")
        overseer = options["oversight_email"]
        try:
            address = ascii_address(
                address or f"agent@{slug.replace('_', '-')}.example"
            ).lower()
            overseer = overseer and ascii_address(overseer)
        except ValueError as error:
            raise CommandError(str(error)) from None
        if Account.objects.filter(slug=slug).exists():
            raise CommandError(
                f"There is an account named {slug}, or there was one: a deleted account keeps its name."
            )
        domain = domain_of(address)
        if (
            Mailbox.objects.filter(address=address).exists()
            or Domain.objects.active().filter(domain=domain).exists()
        ):
            raise CommandError(
                f"The address {address}, or its domain {domain}, belongs to another account."
            )
        account = Account.objects.create(name=name, slug=slug, oversight_email=overseer)
        mailbox = make_mailbox(
            account,
            address=address,
            display_name=options["display_name"] or name,
            mode=Mode(options["mode"]),
        )
        lines = [
            f"gateway  http://127.0.0.1:{settings.GATEWAY_PORT}",
            f"account  {account.pk}  {account.name}  (--account {slug})",
            f"mailbox  {mailbox.pk}  {mailbox.address}",
            f"mode     {mailbox.oversight_mode}",
        ]
        for purpose, scopes, kind in table_rows(_KEYS):
            text = new_key_text(sandbox=kind == "sandbox")
            register_key(
                account, text, name=purpose.capitalize(), scopes=scopes.split()
            )
            lines.append(f"{purpose:18} {text}")
        lines.append("The keys are shown only once; only their hashes are stored.")
        self.stdout.write("\n".join(lines))
