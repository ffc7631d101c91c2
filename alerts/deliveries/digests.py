"""When more cards wait than a channel takes, they become one post that stands for all of them and is edited in place.

A card is on its own post or on one digest, never both: one whose post may have left stays on its own.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from alerts.channels.outcomes import Posted
from alerts.deliveries.claims import Claimed
from alerts.models import Card, Delivery, Destination, Digest

# More than these, waiting for a post of their own, become a digest.
MOST_WAITING = 20
# So long a digest takes more cards; a later burst gets one of its own, at the channel's end, where people look.
OPEN_FOR = timedelta(minutes=15)


def fold(destination_id: int) -> None:
    """Put cards on a digest where too many wait, and see to it that each digest will show what its cards ask for."""
    if waiting(destination_id)[: MOST_WAITING + 1].count() > MOST_WAITING:
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


def posted(claimed: Claimed, answer: Posted) -> None:
    """Note that a digest stands, and with it what its cards asked for."""
    Digest.objects.filter(deliveries=claimed.delivery.pk).update(discord_message_id=answer.message_id)
    still_ours(claimed).update(state=Delivery.State.DELIVERED, response_status=answer.status, last_error="", **_ENDED)


def postponed(claimed: Claimed, *, seconds: float, error: str) -> None:
    """Let what the digest should have told wait with it."""
    later = Now() + timedelta(seconds=seconds)
    still_ours(claimed).update(state=Delivery.State.DUE, next_attempt_at=later, last_error=error[:2000], **_ENDED)


def failed(claimed: Claimed, *, error: str) -> list[Delivery]:
    """Give up with the digest what it should have told, and return it."""
    lost = list(still_ours(claimed).select_related("message").order_by("pk"))
    still_ours(claimed).update(state=Delivery.State.FAILED, last_error=error[:2000], **_ENDED)
    return lost


def still_ours(claimed: Claimed) -> QuerySet[Delivery]:
    """What the digest tells of besides itself, but for what was taken over since."""
    return Delivery.objects.filter(pk__in=claimed.told_with_it, state="sending", lease_until=claimed.told_until)


_ENDED: dict[str, Any] = {"lease_until": None, "last_attempt_at": Now()}


@transaction.atomic
def _collapse(destination_id: int) -> None:
    Destination.objects.select_for_update(no_key=True).get(pk=destination_id)
    cards = list(waiting(destination_id).values_list("card", flat=True))
    if len(cards) <= MOST_WAITING:
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
