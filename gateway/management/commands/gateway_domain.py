"""Gives an account a domain on the operator's word, without proof by DNS."""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from gateway.domains import assign_domain, clean_domain
from gateway.errors import Conflict
from gateway.management.accounts import account_named
from gateway.models import Account


class Command(BaseCommand):
    """Refuses a domain that is active at another account."""

    help = "Adds a domain to a gateway account. It is active at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--account",
            required=True,
            metavar="SLUG",
            help="as given to ./run manage gateway_account",
        )
        parser.add_argument("domain", help="such as example.com")

    def handle(self, *args: Any, account: str, domain: str, **options: Any) -> None:
        owner = account_named(account, Account.objects.all())
        try:
            assigned = assign_domain(owner, clean_domain(domain))
        except ValueError as error:
            raise CommandError(f"{domain!a} {error}") from None
        except Conflict as error:
            raise CommandError(error.error) from None
        self.stdout.write(
            f"domain   {assigned.pk}  {assigned.domain}  {assigned.status}\n"
        )
