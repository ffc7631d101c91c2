"""Prints a one-time link by which the first admin of a desk joins: no password is ever shown."""

import sys
from datetime import timedelta
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from common.mail_addresses import clean_address
from people.actors import Actor, Role, Scope
from people.errors import PeopleError
from people.inviting import invite
from people.models import Person
from people.reach import Place

ACTOR = Actor(kind="command", id="first_admin", label="an operator", surface="command", scopes=(Scope(Role.ADMIN),))
LASTS = timedelta(hours=24)
ROLES = (Role.ADMIN, Role.REVIEWER)


class Command(BaseCommand):
    """Refuses when there is an admin already, so that it cannot be used to get around that person."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", default="", help="whose link it is; asked for where it is missing")
        parser.add_argument("--name", default="")

    def handle(self, *args: Any, email: str, name: str, **options: Any) -> None:
        if there := Person.objects.admins_of_all().first():
            raise CommandError(
                f"{there} is admin already and can invite others on the page People. For an admin who forgot the "
                f"password: ./run manage changepassword {there.email}"
            )
        try:
            address = clean_address(email or self._asked()).lower()
            made = invite(actor=ACTOR, email=address, name=name, roles=[(role, Place()) for role in ROLES], lasts=LASTS)
        except (ValueError, PeopleError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"Open this link as {address} and choose a password. It is good once, for 24 hours:\n\n  {made.url}\n\n"
            "Whoever opens it first is the admin. Run this again for another link; this one is void then.\n"
        )

    def _asked(self) -> str:
        if not sys.stdin.isatty():
            raise CommandError("Say whose link it is: ./run manage first_admin --email you@example.com")
        return input("Your email address: ")
