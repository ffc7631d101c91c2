"""Claims deliveries in order: the oldest first, and none before an earlier one of the same message."""

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from alerts.channels import channel_of
from alerts.deliveries import digests
from alerts.models import Delivery, Destination


@transaction.atomic
def claim(destination_id: int, *, only: int | None = None) -> tuple[Delivery | None, str]:
    """Claim the next delivery of a destination for one attempt, or `only` this one; or say why not.

    Empty where nothing is due. Where too many cards are due, a digest replaces them first.
    """
    waits = Q(waits_until__gt=Now(), switched_off_at=None)
    destination: Any = Destination.objects.locked().annotate(is_waiting=waits).get(pk=destination_id)
    due = Delivery.objects.due().filter(destination=destination)
    if destination.is_waiting:
        return None, "not due" if due.exists() else ""
    channel = channel_of(destination.kind)
    if only is not None:
        due = due.filter(pk=only)
    elif channel.posts_cards:
        digests.fold(destination)
    key = due.in_turn().order_by("pk").values_list("pk", flat=True).first()
    if key is None:
        return None, ""
    # Expired leases do not count: otherwise two dead workers' rows would block each other.
    sending = Delivery.objects.filter(destination=destination, state="sending", lease_until__gte=Now())
    # What is sent on a digest is no request of its own.
    if sending.filter(card__digest=None)[: channel.parallel].count() == channel.parallel:
        return None, "another one is under way"
    # None where its row was locked, and whoever did so ended or postponed it.
    delivery = Delivery.objects.select_related("card", "digest").claim(key)
    if delivery is None:
        return None, "not due"
    delivery.destination = destination
    if delivery.digest_id:
        digests.claim_cards(delivery)
    return delivery, ""
