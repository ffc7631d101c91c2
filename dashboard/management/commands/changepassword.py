"""The command that asks for a new password for a person, as Django's own command of
this name does. It also ends the person's sessions, and writes to the ledger.
"""

from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.db import transaction
from django.db.models.functions import Now

from audit.recording import record
from common.actors import operator
from people.models import Invitation, Person
from people.sign_in.sessions import end_sessions

ACTOR = operator("changepassword")


class Command(changepassword.Command):
    """For an only admin who forgot their password. Other people get a link from an
    admin.
    """

    help = "Sets a new password for a person, for instance for the only admin."

    def handle(self, *args: Any, **options: Any) -> str | None:
        """Let Django ask for the password; it raises CommandError if none was set. Then
        end the person's sessions, and record the change.
        """
        # Not in a transaction: PostgreSQL ends one that waits for somebody who types.
        email = str(options["username"] or "").strip().lower()
        output: str | None = super().handle(
            *args, **{**options, "username": email or options["username"]}
        )
        person = Person.objects.get(email=email)
        with transaction.atomic():
            # An open link for a new password could undo this change.
            Invitation.objects.passwords_of(person).withdraw()
            ended = end_sessions(person)
            # No link set this password.
            Person.objects.filter(pk=person.pk).update(confirmed_at=Now())
            details = {"email": person.email, "sessions ended": str(ended)}
            record(
                "person.password_changed", actor=ACTOR, details=details, about=person
            )
        return output
