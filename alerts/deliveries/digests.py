"""When more cards wait than a channel accepts, one digest post replaces them and is edited in place.

A card has its own post or is on one digest, never both: one whose post may have been sent keeps its own.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from alerts.channels.base import Posted
from alerts.deliveries.claims import Claim
from alerts.models import Card, Delivery, Destination, Digest

# More than these, waiting for a post of their own, become a digest.
MAX_WAITING = 20
# So long a digest accepts more cards; a later burst gets one of its own, at the channel's end, where people look.
OPEN_FOR = timedelta(minutes=15)


def fold(destination_id: int) -> None:
    """Put cards on a digest where too many wait, and see to it that each digest will show what its cards ask for."""
    if waiting(destination_id)[: MAX_WAITING + 1].count() > MAX_WAITING:
        _collapse(destination_id)
    for digest_id in _behind(destination_id):
        _plan(digest_id)


def waiting(destination_id: int) -> QuerySet[Delivery]:
    """What is due there for cards that have no post yet, and of which none can have left.

    Begins with what is due, of which there is little: a destination has had many cards.
    """
    there = Delivery.objects.due().filter(destination=destination_id, kind=Delivery.Kind.CARD)
    unposted = there.filter(card__digest=None, card__discord_message_id="", card__removed=False)
    return unposted.exclude(Exists(Delivery.objects.filter(card=OuterRef("card"), attempts__gt=0)))


def posted(claim: Claim, result: Posted) -> None:
    """Note that a digest was posted, and with it what its cards asked for."""
    Digest.objects.filter(deliveries=claim.delivery.pk).update(discord_message_id=result.message_id)
    _card_deliveries(claim).update(
        state=Delivery.State.DELIVERED, response_status=result.status, last_error="", **_ENDED
    )


def postponed(claim: Claim, *, seconds: float, error: str) -> None:
    """Postpone the deliveries that the digest covers."""
    later = Now() + timedelta(seconds=seconds)
    _card_deliveries(claim).update(state=Delivery.State.DUE, next_attempt_at=later, last_error=error[:2000], **_ENDED)


def failed(claim: Claim, *, error: str) -> list[Delivery]:
    """Give up the deliveries that the digest covers, and return them."""
    lost = list(_card_deliveries(claim).select_related("message").order_by("pk"))
    _card_deliveries(claim).update(state=Delivery.State.FAILED, last_error=error[:2000], **_ENDED)
    return lost


def _card_deliveries(claim: Claim) -> QuerySet[Delivery]:
    """The deliveries of cards that the digest covers, except those that another worker claimed since."""
    return Delivery.objects.filter(pk__in=claim.card_deliveries, state="sending", lease_until=claim.cards_lease)


_ENDED: dict[str, Any] = {"lease_until": None, "last_attempt_at": Now()}


@transaction.atomic
def _collapse(destination_id: int) -> None:
    Destination.objects.select_for_update(no_key=True).get(pk=destination_id)
    cards = list(waiting(destination_id).values_list("card", flat=True))
    if len(cards) <= MAX_WAITING:
        return
    taking = Digest.objects.filter(destination=destination_id, removed=False, closed_at=None)
    taking.filter(opened_at__lt=Now() - OPEN_FOR).update(closed_at=Now())
    digest = taking.order_by("-pk").first() or Digest.objects.create(destination_id=destination_id)
    Card.objects.filter(pk__in=cards, discord_message_id="").update(digest=digest)


def _behind(destination_id: int) -> list[Any]:
    """The digests of which cards ask for something and no delivery of their own waits."""
    asked = Delivery.objects.due().filter(destination=destination_id, kind=Delivery.Kind.CARD)
    planned = Delivery.objects.unfinished().filter(kind=Delivery.Kind.DIGEST, digest=OuterRef("card__digest"))
    behind = asked.exclude(card__digest=None).exclude(Exists(planned))
    return list(behind.values_list("card__digest", flat=True).distinct())


@transaction.atomic
def _plan(digest_id: int) -> None:
    digest = Digest.objects.select_for_update(no_key=True).get(pk=digest_id)
    own = Delivery.objects.filter(kind=Delivery.Kind.DIGEST, digest=digest)
    if not own.unfinished().exists():
        Delivery.objects.create(
            kind=Delivery.Kind.DIGEST, destination_id=digest.destination_id, digest=digest, action="alerts.collapsed"
        )
