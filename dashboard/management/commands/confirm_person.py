"""The command with which an operator confirms that an account is used by its own person
only.
"""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models.functions import Now

from audit.recording import record
from common.actors import operator
from people.models import Person


class Command(BaseCommand):
    """For people who cannot set a second factor."""

    help = (
        "Confirms that nobody else can sign in with an account, so that it counts as one person no longer with "
        "whoever made the link that set its password. Ask its owner first whether they used that link themselves. "
        "If they did not, run changepassword instead."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="the address of the account")

    @transaction.atomic
    def handle(self, *args: Any, email: str, **options: Any) -> None:
        person = Person.objects.filter(email=email.strip().lower()).first()
        if person is None:
            raise CommandError(f"Nobody at this desk has the address {email}.")
        Person.objects.filter(pk=person.pk).update(confirmed_at=Now())
        record(
            "person.confirmed",
            actor=operator("confirm_person"),
            details={"email": person.email},
            about=person,
        )
        self.stdout.write(f"{person} counts as one person with nobody else now.")
