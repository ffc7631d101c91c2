"""Makes practice messages for tests: an approved message, and the copy with a fault
that is planted in the queue.
"""

import random

from django.db import transaction
from django.db.models.functions import Now

from mirror.models import Message
from practice import planting
from tests.factories import change_row, make_message
from tests.integration.deciding import decided

TEXT = (
    "Hello Dana,\n\nyou get 120.00 EUR back, see https://portal.northwind.example/4471."
)


def make_approved(connection, person):
    """Make a message that this person approved and that was sent."""
    message = make_message(connection, markdown=TEXT)
    decided(message, person, state="applied")
    sent = {"state": "sent", "changed_at": Now()}
    change_row(message, upstream_id=f"01J{message.pk:0>23}", **sent)
    return Message.objects.get(pk=message.pk)


def make_planted(connection):
    """Plant a practice message in the connection's only mailbox."""
    with transaction.atomic():
        mailbox = connection.mailboxes.select_related("connection").get()
        planted = planting.plant_in(
            mailbox, rng=random.Random(2), signed_by="Ida Lindqvist and Sam Okoro"
        )
    assert planted is not None
    return planted
