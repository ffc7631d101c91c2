"""The command that invites the first admin of a desk. It prints a one-time link."""

import sys
from datetime import timedelta
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from common.actors import Role, operator
from common.mail_addresses import ascii_address
from people.errors import PeopleError
from people.invitations.links import invite
from people.models import Person
from people.roles import GrantTarget

ACTOR = operator("first_admin", Role.ADMIN)
LASTS = timedelta(hours=24)
ROLES = (Role.ADMIN, Role.REVIEWER)


class Command(BaseCommand):
    """Refuses if there is an admin already, so that it cannot bypass the admins."""

    help = (
        "Creates the first admin, who is also a reviewer: prints a link that works once, for 24 hours, to choose a "
        "password. It needs no terminal, and refuses once there is an admin."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--email",
            default="",
            help="the admin's email address; asked for at a terminal, required without one",
        )
        parser.add_argument(
            "--name",
            default="",
            help="name that colleagues see; default: the part before the @",
        )

    def handle(self, *args: Any, email: str, name: str, **options: Any) -> None:
        if admin := Person.objects.admins_of_all().first():
            raise CommandError(
                f"{admin} is already admin and can invite others under People. To set a new password: ./run manage "
                f"changepassword {admin.email}"
            )
        try:
            if not email and not sys.stdin.isatty():
                raise CommandError(
                    "Give the admin's address: ./run manage first_admin --email you@example.com"
                )
            address = ascii_address(email or input("Your email address: ")).lower()
            link = invite(
                actor=ACTOR,
                email=address,
                name=name,
                roles=[(role, GrantTarget()) for role in ROLES],
                lasts=LASTS,
            )
        except (ValueError, PeopleError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"Open this link as {address} and choose a password. It is good once, for 24 hours:\n\n  {link.url}\n\n"
            "The first person to open it becomes the admin. Run this again for a new link, which replaces this one.\n"
        )
