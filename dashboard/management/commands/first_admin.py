"""Makes the first admin of a desk that runs without the demo, and prints a password once."""

import secrets
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import transaction

from people.actors import Role
from people.models import Grant, Person


class Command(BaseCommand):
    """Refuses when there is an admin already, so that it cannot be used to get around that person."""

    help = "Makes the first admin of a desk that runs without the demo, and prints a password once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--name", default="")

    @transaction.atomic
    def handle(self, *args: Any, email: str, name: str, **options: Any) -> None:
        if Grant.objects.filter(role=Role.ADMIN, connection=None, mailbox=None).exists():
            raise CommandError("There is an admin already. docs/operators.md says how others are added.")
        password = secrets.token_urlsafe(15)
        person = Person.objects.create_user(email=email, name=name or email.partition("@")[0], password=password)
        for role in (Role.ADMIN, Role.REVIEWER):
            Grant.objects.create(person=person, role=role)
        self.stdout.write(f"Sign in as {person.email} with the password {password}\n")
