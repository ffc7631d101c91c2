"""Makes the first admin of a desk: prints a one-time link, or makes the account at once
with a password from a file.
"""

import sys
from datetime import timedelta
from pathlib import Path as File
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from common.actors import Role, operator
from common.mail_addresses import clean_address
from people.errors import PeopleError
from people.invitations.links import NewLink, invite, join
from people.models import Person
from people.roles import GrantTarget

ACTOR = operator("first_admin", Role.ADMIN)
LASTS = timedelta(hours=24)
ROLES = (Role.ADMIN, Role.REVIEWER)


class Command(BaseCommand):
    """Refuses if there is an admin already, so that it cannot bypass them."""

    help = (
        "Creates the first admin, who is also a reviewer. Without --password-file it prints a link that works once, "
        "for 24 hours, to choose a password. It needs no terminal, and refuses once there is an admin."
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
        parser.add_argument(
            "--password-file",
            metavar="FILE",
            help="create the account at once, with the first line of FILE as its password; - reads standard input",
        )

    def handle(
        self,
        *args: Any,
        email: str,
        name: str,
        password_file: str | None,
        **options: Any,
    ) -> None:
        if there := Person.objects.admins_of_all().first():
            raise CommandError(
                f"{there} is already admin and can invite others under People. To set a new password: ./run manage "
                f"changepassword {there.email}"
            )
        try:
            if not email and (password_file == "-" or not sys.stdin.isatty()):
                raise CommandError(
                    "Give the admin's address: ./run manage first_admin --email you@example.com"
                )
            address = clean_address(email or input("Your email address: ")).lower()
            if password_file is None:
                url = _invite(address, name).url
                self.stdout.write(
                    f"Open this link as {address} and choose a password. It is good once, for 24 hours:\n\n  {url}\n\n"
                    "Whoever opens it first becomes the admin. Run this again for a new link, "
                    "which replaces this one.\n"
                )
            else:
                _make_account(address, name, _first_line(password_file))
                self.stdout.write(
                    f"{address} is the admin, and can sign in with that password.\n"
                )
        except (ValueError, PeopleError) as error:
            raise CommandError(str(error)) from None


def _invite(address: str, name: str) -> NewLink:
    return invite(
        actor=ACTOR,
        email=address,
        name=name,
        roles=[(role, GrantTarget()) for role in ROLES],
        lasts=LASTS,
    )


@transaction.atomic
def _make_account(address: str, name: str, password: str) -> None:
    """Join by a link that is not printed. Raises CommandError with what is wrong."""
    if Person.objects.filter(email=address).exists():
        raise CommandError(
            f"{address} already has an account. Leave out --password-file, and open the link signed in to it."
        )
    name = name or address.partition("@")[0]
    try:
        validate_password(password, Person(email=address, name=name))
    except ValidationError as error:
        raise CommandError(
            f"This password is not allowed. {' '.join(error.messages)}"
        ) from None
    token = _invite(address, name).url.rstrip("/").rpartition("/")[-1]
    join(token=token, name=name, password=password, actor=ACTOR)


def _first_line(path: str) -> str:
    try:
        text = (
            sys.stdin.readline()
            if path == "-"
            else File(path).read_text(encoding="utf-8")
        )
    except (OSError, UnicodeError) as error:
        raise CommandError(f"--password-file {path} cannot be read: {error}.") from None
    password = (text.splitlines() or [""])[0]
    if not password:
        where = "Standard input" if path == "-" else path
        raise CommandError(f"{where} is empty: its first line must be the password.")
    return password
