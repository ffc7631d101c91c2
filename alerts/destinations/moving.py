"""What a destination leaves behind when it gets another address, or is switched on after it failed."""

from django.db.models import Q

from alerts.models import Card, Destination, Digest
from mirror.states import MessageState


def leave_posts(destination: Destination) -> None:
    """Edit none of the posts at the old address: from the new one nothing there can be.

    What still waits, and each connection, gets a card at the new address with whatever happens to it next.
    """
    cards = Card.objects.filter(destination=destination, removed=False)
    goes_on = Q(message__state=MessageState.HELD) | Q(about__startswith="connection/")
    cards.exclude(goes_on).update(removed=True)
    cards.filter(goes_on).update(discord_message_id="", digest=None, status_shown="", revision_shown=None)
    Digest.objects.filter(destination=destination).update(removed=True)


def forget_failures(destination: Destination) -> None:
    """Try at once again: what made it rest was somewhere else, or is over. What it asked for itself still holds."""
    if destination.failures:
        destination.failures, destination.waits_until = 0, None
