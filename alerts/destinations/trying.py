"""Posts a test to a destination for somebody who waits for it, and tells in words what came of it."""

from django.db import transaction
from django.db.models.functions import Now

from alerts.cards.card import payload
from alerts.channels.discord.transport import try_post
from alerts.channels.outcomes import Tried
from alerts.deliveries.events import try_event
from alerts.destinations.rights import check_may_manage
from alerts.errors import DestinationMissing
from alerts.models import Destination
from audit.recording import record
from people.actors import Actor

# In all: a page waits for it, and a person for the page.
TEST_SECONDS = 4.0
_TEST = {
    "title": "A test from Countersign",
    "description": "Alerts can be posted here. Nobody is waiting for anything.",
    "color": 0x2563EB,
}


def test_destination(*, destination_id: int, actor: Actor) -> Tried:
    """Post a test and tell what came of it. The post is made outside of any transaction, within TEST_SECONDS."""
    check_may_manage(actor)
    destination = Destination.objects.kept().filter(pk=destination_id).first()
    if destination is None:
        raise DestinationMissing("This destination was removed in the meantime.")
    if destination.is_discord:
        tried = try_post(destination, payload(dict(_TEST)), within=TEST_SECONDS)
    else:
        tried = try_event(destination, within=TEST_SECONDS)
    with transaction.atomic():
        # One that was given another address in the meantime has not been tested.
        now = Destination.objects.filter(pk=destination_id)
        still = [one for one in now if (one.url, one.channel) == (destination.url, destination.channel)]
        if tried.took and still:
            Destination.objects.filter(pk=destination_id).update(tested_at=Now(), posts_in=tried.channel)
        details = {"destination": destination.name, "took": "yes" if tried.took else "no", "answer": tried.sentence}
        record("destination.tested", actor=actor, details=details)
    return tried
