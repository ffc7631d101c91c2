"""Claims deliveries in order: the oldest first, and none before an earlier one of the
same message.

When more cards wait than a channel accepts, one digest post replaces them and is edited
in place. A card has its own post or is on one digest, never both: one whose post may
have been sent keeps its own.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.models import Card, Delivery, Destination, Digest

# More than these, waiting for a post of their own, become a digest.
MAX_WAITING = 20
# So long a digest accepts more cards; a later burst gets one of its own, at the
# channel's end, where people look.
OPEN_FOR = timedelta(minutes=15)


@transaction.atomic
def claim(destination_id: int) -> tuple[Delivery | None, str]:
    """Claim the next delivery of a destination for one attempt, or say why not.

    Empty where nothing is due. Where too many cards are due, a digest replaces them
    first.
    """
    waits = Q(waits_until__gt=Now(), switched_off_at=None)
    destination: Any = (
        Destination.objects.locked().annotate(is_waiting=waits).get(pk=destination_id)
    )
    due = Delivery.objects.due().filter(destination=destination)
    if destination.is_waiting:
        return None, "not due" if due.exists() else ""
    channel = channel_of(destination.kind)
    if channel.posts_cards:
        _fold(destination)
    key = due.in_turn().order_by("pk").values_list("pk", flat=True).first()
    if key is None:
        return None, ""
    # Expired leases do not count: otherwise two dead workers' rows would block each
    # other.
    sending = Delivery.objects.filter(
        destination=destination, state="sending", lease_until__gte=Now()
    )
    # What is sent on a digest is no request of its own.
    alone = sending.filter(card__digest=None)[: channel.parallel]
    if alone.count() == channel.parallel:
        return None, "another one is under way"
    # None where its row was locked, and whoever did so ended or postponed it.
    delivery = Delivery.objects.select_related("card", "digest").claim(key)
    if delivery is None:
        return None, "not due"
    delivery.destination = destination
    if delivery.digest_id:
        # What the digest covers now, for the same time. What is planned at this moment
        # stays for its next edit.
        cards = Delivery.objects.due().filter(
            kind=Delivery.Kind.CARD, card__digest=delivery.digest_id
        )
        free = cards.select_for_update(of=("self",), skip_locked=True)
        keys = list(free.values_list("pk", flat=True))
        Delivery.objects.filter(pk__in=keys).update(
            state=Delivery.State.SENDING,
            attempts=F("attempts") + 1,
            lease_until=delivery.lease_until,
        )
    return delivery, ""


def _fold(destination: Destination) -> None:
    """Put cards on a digest where too many wait, and see to it that each digest will
    show what its cards ask for.

    The caller has locked the destination.
    """
    due = Delivery.objects.due().filter(
        destination=destination, kind=Delivery.Kind.CARD
    )
    # Only cards that have no post yet, and of which none can have left.
    unposted = due.filter(
        card__digest=None, card__discord_message_id="", card__removed=False
    )
    tried = Delivery.objects.filter(card=OuterRef("card"), attempts__gt=0)
    cards = list(unposted.exclude(Exists(tried)).values_list("card", flat=True))
    if len(cards) > MAX_WAITING:
        taking = Digest.objects.filter(
            destination=destination, removed=False, closed_at=None
        )
        taking.filter(opened_at__lt=Now() - OPEN_FOR).update(closed_at=Now())
        digest = taking.order_by("-pk").first() or Digest.objects.create(
            destination=destination
        )
        Card.objects.filter(pk__in=cards, discord_message_id="").update(digest=digest)
    planned = Delivery.objects.unfinished().filter(
        kind=Delivery.Kind.DIGEST, digest=OuterRef("card__digest")
    )
    behind = due.exclude(card__digest=None).exclude(Exists(planned))
    for digest in behind.values_list("card__digest", flat=True).distinct():
        Delivery.objects.create(
            kind=Delivery.Kind.DIGEST,
            destination=destination,
            digest_id=digest,
            action="alerts.collapsed",
        )
