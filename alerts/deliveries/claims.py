"""Claims deliveries in order: the oldest first, and none before an earlier one of the same message."""

from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.models import Delivery, Destination


@dataclass(frozen=True)
class Claim:
    """A delivery that the caller has claimed; a digest's claim includes the deliveries of its cards."""

    delivery: Delivery
    destination: Destination
    card_deliveries: list[int] = field(default_factory=list)
    cards_lease: datetime | None = None


@transaction.atomic
def claim(delivery_id: int) -> tuple[Claim | None, str]:
    """Claim a delivery for one attempt, or say why not."""
    destination = _locked(delivery_id)
    if destination is None:
        return None, "gone"
    delivery = Delivery.objects.get(pk=delivery_id)
    if destination.waits:  # type: ignore[attr-defined]
        return None, "not due"
    if _under_way(delivery) >= channel_of(destination.kind).parallel:
        return None, "another one is under way"
    if not Delivery.objects.in_turn().filter(pk=delivery_id).exists():
        return None, "not its turn"
    claimed = Delivery.objects.claim(delivery_id)
    if claimed is None:
        return None, "not due"
    cards, lease = _claim_cards(claimed) if claimed.kind == Delivery.Kind.DIGEST else ([], None)
    return Claim(claimed, destination, cards, lease), ""


def lock(destination: Destination) -> None:
    """Lock the destination, before the rows of its deliveries: in the order in which a claim does."""
    Destination.objects.select_for_update(no_key=True).filter(pk=destination.pk).first()


def _locked(delivery_id: int) -> Destination | None:
    waits = Q(waits_until__gt=Now(), switched_off_at=None)
    found = Destination.objects.select_for_update(of=("self",), no_key=True).filter(deliveries=delivery_id)
    return found.annotate(waits=waits).first()


def _under_way(delivery: Delivery) -> int:
    # Expired leases are ignored; otherwise two dead workers' rows would block each other.
    others = Delivery.objects.exclude(pk=delivery.pk).filter(destination=delivery.destination_id)
    sending = others.filter(state=Delivery.State.SENDING, lease_until__gte=Now())
    return sending.exclude(kind=Delivery.Kind.CARD, card__digest__isnull=False).count()


def _claim_cards(digest: Delivery) -> tuple[list[int], datetime | None]:
    """Claim what the digest covers now. What is being planned at this moment stays for its next edit."""
    of_cards = Delivery.objects.due().filter(kind=Delivery.Kind.CARD, card__digest=digest.digest_id)
    keys = list(of_cards.select_for_update(of=("self",), skip_locked=True).values_list("pk", flat=True))
    claimed = Delivery.objects.filter(pk__in=keys)
    claimed.take()
    return keys, claimed.values_list("lease_until", flat=True).first()
