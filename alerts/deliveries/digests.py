"""When more cards wait than a channel accepts, one digest post replaces them and is edited in place.

A card has its own post or is on one digest, never both: one whose post may have been sent keeps its own.
"""

from datetime import timedelta

from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now

from alerts.models import Card, Delivery, Destination, Digest

# More than these, waiting for a post of their own, become a digest.
MAX_WAITING = 20
# So long a digest accepts more cards; a later burst gets one of its own, at the channel's end, where people look.
OPEN_FOR = timedelta(minutes=15)


def fold(destination: Destination) -> None:
    """Put cards on a digest where too many wait, and see to it that each digest will show what its cards ask for.

    The caller has locked the destination.
    """
    due = Delivery.objects.due().filter(destination=destination, kind=Delivery.Kind.CARD)
    # Only cards that have no post yet, and of which none can have left.
    unposted = due.filter(card__digest=None, card__discord_message_id="", card__removed=False)
    tried = Delivery.objects.filter(card=OuterRef("card"), attempts__gt=0)
    cards = list(unposted.exclude(Exists(tried)).values_list("card", flat=True))
    if len(cards) > MAX_WAITING:
        taking = Digest.objects.filter(destination=destination, removed=False, closed_at=None)
        taking.filter(opened_at__lt=Now() - OPEN_FOR).update(closed_at=Now())
        digest = taking.order_by("-pk").first() or Digest.objects.create(destination=destination)
        Card.objects.filter(pk__in=cards, discord_message_id="").update(digest=digest)
    planned = Delivery.objects.unfinished().filter(kind=Delivery.Kind.DIGEST, digest=OuterRef("card__digest"))
    behind = due.exclude(card__digest=None).exclude(Exists(planned))
    for digest in behind.values_list("card__digest", flat=True).distinct():
        Delivery.objects.create(
            kind=Delivery.Kind.DIGEST, destination=destination, digest_id=digest, action="alerts.collapsed"
        )


def claim_cards(digest: Delivery) -> None:
    """Claim what a digest covers now, for the same time. What is planned at this moment stays for its next edit."""
    due = Delivery.objects.due().filter(kind=Delivery.Kind.CARD, card__digest=digest.digest_id)
    keys = list(due.select_for_update(of=("self",), skip_locked=True).values_list("pk", flat=True))
    claimed = Delivery.objects.filter(pk__in=keys)
    claimed.update(state=Delivery.State.SENDING, attempts=F("attempts") + 1, lease_until=digest.lease_until)
