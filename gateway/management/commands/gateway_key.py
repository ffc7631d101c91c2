"""Makes another API key for an account: for a new bot, or when the last admin key is
lost.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from pydantic import ValidationError

from gateway.accounts import make_operator_key
from gateway.api.bodies import sentence_of
from gateway.api.keys import KeyIn
from gateway.errors import NotFound
from gateway.management.accounts import account_named
from gateway.models import Account, ApiKey, Scope


class Command(BaseCommand):
    """Refuses what the API refuses: unknown scopes and mailboxes, and a key that both
    sends and decides.
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
        parser.add_argument(
            "--mailboxes",
            metavar="A,B",
            help="addresses that the key is limited to; default: all",
        )
        parser.add_argument(
            "--sandbox",
            action="store_true",
            help="sandbox key: nothing that it sends is delivered",
        )

    def handle(self, *args: Any, account: str, sandbox: bool, **options: Any) -> None:
        owner = account_named(account, Account.objects.filter(is_active=True))
        values = {"name": options["name"], "scopes": options["scopes"].split(",")}
        if options["mailboxes"] is not None:
            values["mailboxes"] = [
                name.strip() for name in options["mailboxes"].split(",")
            ]
        try:
            wanted = KeyIn.model_validate(values)
            made = ApiKey(
                account=owner,
                name=wanted.name,
                scopes=wanted.scopes or [],
                sandbox=sandbox,
            )
            text = make_operator_key(made, wanted.mailboxes or [])
        except ValidationError as error:
            first: dict[str, Any] = dict(error.errors()[0])
            raise CommandError(f"{first['loc'][0]}: {sentence_of(first)}") from None
        except NotFound as error:
            raise CommandError(error.error) from None
        self.stdout.write(
            f"key      {made.pk}  {made.name}\n{text}\nIt is shown only once; only its hash is stored.\n"
        )
