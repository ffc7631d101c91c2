"""Makes a destination wait, or switches it off, and records changes of destinations.
Nobody sleeps for a wait: it is stored with the destination, and its due deliveries stay
due.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Greatest, Now

from alerts.channels import all_channels, channel_of
from alerts.models import Destination
from audit.recording import record
from common.actors import Actor, worker

ACTOR = worker("alerts")


def hold_back(
    destination: Destination, seconds: float, *, whole_service: bool = False
) -> None:
    """Make a destination wait for so many seconds; with `whole_service` all
    destinations of its service. A wait that ends later stays.
    """
    destinations = Destination.objects.filter(pk=destination.pk)
    if whole_service:
        service = channel_of(destination.kind).service
        kinds = [one.kind for one in all_channels().values() if one.service == service]
        destinations = Destination.objects.filter(kind__in=kinds)
    until = Now() + timedelta(seconds=seconds)
    destinations.update(waits_until=Greatest("waits_until", until))


@transaction.atomic
def switch_off(destination: Destination, because: str, *, actor: Actor = ACTOR) -> None:
    """Switch a destination off, and record it in the ledger."""
    switched_on = Destination.objects.filter(pk=destination.pk, switched_off_at=None)
    if switched_on.update(switched_off_at=Now(), switched_off_because=because):
        record_change(
            "destination.switched_off",
            destination,
            actor,
            "on",
            "off",
            explanation=because,
        )


def record_change(
    action: str,
    destination: Destination,
    actor: Actor,
    before: str,
    after: str,
    **more: str,
) -> None:
    """Record in the ledger a destination's settings before and after a change."""
    more |= {"destination": destination.name, "before": before, "after": after}
    record(action, actor=actor, details=more)
