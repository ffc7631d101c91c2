"""Makes another API key for an account: for a new bot, or when the last admin key is
lost.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from gateway.accounts import store_key
from gateway.api.accounts import known_scopes
from gateway.management.accounts import account_named
from gateway.models import Account, ApiKey, Scope


class Command(BaseCommand):
    """Refuses what the API refuses: unknown scopes, and a key that both sends and
    decides.
    """

    help = "Creates an API key for a gateway account, and prints it once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--account", required=True, metavar="SLUG", help="the account, such as acme"
        )
        parser.add_argument(
            "--name",
            required=True,
            help="what the key is for, such as 'Newsletter bot'",
        )
        parser.add_argument(
            "--scopes",
            required=True,
            metavar="A,B",
            help=f"of {', '.join(Scope.values)}",
        )

    def handle(
        self, *args: Any, account: str, name: str, scopes: str, **options: Any
    ) -> None:
        owner = account_named(account, Account.objects.filter(is_active=True))
        try:
            known = known_scopes(scopes.split(","))
        except ValueError as error:
            raise CommandError(str(error)) from None
        made = ApiKey(account=owner, name=name, scopes=known)
        text = store_key(made, by="operator")
        self.stdout.write(
            f"key      {made.pk}  {made.name}\n{text}\nIt is shown only once; only its hash is stored.\n"
        )
