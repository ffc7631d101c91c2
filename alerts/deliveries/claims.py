"""Whose turn it is: the oldest first, one after the other, and nothing before what came earlier on the same message."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from alerts.models import Delivery, Destination

# To people cards go one by one; programs may be told of several messages at once.
LANES = {Destination.Kind.INNGEST: 3, Destination.Kind.SIGNED_WEBHOOK: 3}


@dataclass(frozen=True)
class Claimed:
    """A delivery in the caller's hands. With a digest's come those of its cards, which it tells all together."""

    delivery: Delivery
    destination: Destination
    told_with_it: list[int] = field(default_factory=list)
    told_until: datetime | None = None


@transaction.atomic
def claim(delivery_id: int) -> tuple[Claimed | None, str]:
    """Claim a delivery for one attempt, or say why not."""
    destination = _locked(delivery_id)
    if destination is None:
        return None, "gone"
    delivery = Delivery.objects.get(pk=delivery_id)
    if destination.waits:  # type: ignore[attr-defined]
        return None, "not due"
    if _under_way(delivery) >= LANES.get(Destination.Kind(destination.kind), 1):
        return None, "another one is under way"
    if not Delivery.objects.in_turn().filter(pk=delivery_id).exists():
        return None, "not its turn"
    claimed = Delivery.objects.claim(delivery_id)
    if claimed is None:
        return None, "not due"
    told, until = _take_cards(claimed) if claimed.kind == Delivery.Kind.DIGEST else ([], None)
    return Claimed(claimed, destination, told, until), ""


def lock(destination: Destination) -> None:
    """Lock the destination, before the rows of its deliveries: in the order in which a claim does."""
    Destination.objects.select_for_update(no_key=True).filter(pk=destination.pk).first()


def _locked(delivery_id: int) -> Destination | None:
    waits = Q(waits_until__gt=Now(), switched_off_at=None)
    found = Destination.objects.select_for_update(of=("self",), no_key=True).filter(deliveries=delivery_id)
    return found.annotate(waits=waits).first()


def _under_way(delivery: Delivery) -> int:
    # Of two whose workers died, neither may wait for the other.
    others = Delivery.objects.exclude(pk=delivery.pk).filter(destination=delivery.destination_id)
    sending = others.filter(state=Delivery.State.SENDING, lease_until__gte=Now())
    return sending.exclude(kind=Delivery.Kind.CARD, card__digest__isnull=False).count()


def _take_cards(digest: Delivery) -> tuple[list[int], datetime | None]:
    """Take what the digest tells of now. What is being planned at this moment stays for its next edit."""
    of_cards = Delivery.objects.due().filter(kind=Delivery.Kind.CARD, card__digest=digest.digest_id)
    told = list(of_cards.select_for_update(of=("self",), skip_locked=True).values_list("pk", flat=True))
    taken = Delivery.objects.filter(pk__in=told)
    taken.take()
    return told, taken.values_list("lease_until", flat=True).first()
