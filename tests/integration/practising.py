"""Practice messages for tests: a message that somebody approved, and the copy that is
planted of it.
"""

import random

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from approvals.models import Decision
from mirror.models import Message
from practice import planting
from tests.factories import make_message

TEXT = (
    "Hello Dana,\n\nyou get 120.00 EUR back, see https://portal.northwind.example/4471."
)


def make_approved(connection, person):
    """Make a message that this person approved, and that was sent."""
    message = make_message(connection, markdown=TEXT)
    fields = {
        "outcome": "approve",
        "state": "applied",
        "reference": "APPROVED",
        "due_at": Now(),
    }
    Decision.objects.create(
        message=message, revision=message.revision, given_by=person, **fields
    )
    sent = {
        "state": "sent",
        "changed_at": timezone.now(),
        "upstream_id": "01J" + "8" * 23,
    }
    Message.objects.filter(pk=message.pk).update(**sent)
    message.refresh_from_db()
    return message


def make_planted(connection, *, seed=5):
    """Plant one in the connection's only mailbox."""
    with transaction.atomic():
        mailbox = connection.mailboxes.select_related("connection").get()
        found = planting.plant_in(
            mailbox, rng=random.Random(seed), signed_by="Ida Lindqvist and Sam Okoro"
        )
    assert found is not None
    return found
