"""The command with which an operator confirms that accounts are used by their own person
only.
"""

from typing import Any

from django.core.management.base import CommandError, LabelCommand
from django.db import transaction
from django.db.models.functions import Now

from audit.recording import record
from common.actors import operator
from people.models import Person


class Command(LabelCommand):
    """For people who cannot set a second factor."""

    label = "email"
    help = (
        "Confirms that nobody else can sign in with an account, so that it no longer counts as one person with "
        "whoever could read the link that set its password. Ask its owner first whether they used that link "
        "themselves. If they did not, run changepassword instead."
    )

    @transaction.atomic
    def handle_label(self, label: str, **options: Any) -> str:
        people = Person.objects.filter(email=label.strip().lower())
        if not people.update(confirmed_at=Now()):
            raise CommandError(f"Nobody at this desk has the address {label}.")
        person = people.get()
        record(
            "person.confirmed",
            actor=operator("confirm_person"),
            details={"email": person.email},
            about=person,
        )
        return f"{person} counts as one person with nobody else now."
