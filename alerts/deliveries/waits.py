"""Pauses a destination, or switches it off; its due deliveries wait in their rows."""

import random
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from alerts.channels import all_channels, channel_of
from alerts.models import Destination
from audit.recording import changed, record
from common.actors import Actor, worker

ACTOR = worker("alerts")
# Seconds of rest by failures in a row: one that is down costs others no worker, and
# what waits is not tried all at once. The first failure may be the fault of one card.
REST_AFTER = (0, 5, 15, 30, 60)


def hold_back(destination_id: int, seconds: float) -> None:
    """Pause this destination for this many seconds."""
    _hold(Destination.objects.filter(pk=destination_id), seconds)


def hold_back_service(kind: str, seconds: float) -> None:
    """Pause all destinations of the same service for this many seconds, as the service
    asked.
    """
    service = channel_of(kind).service
    kinds = [one.kind for one in all_channels().values() if one.service == service]
    _hold(Destination.objects.filter(kind__in=kinds), seconds)


def note_failure(destination: Destination) -> None:
    """Count a failure that may pass, and let the destination rest when it is not the
    first.
    """
    seconds = REST_AFTER[min(destination.failures, len(REST_AFTER) - 1)]
    Destination.objects.filter(pk=destination.pk).update(failures=F("failures") + 1)
    if seconds:
        hold_back(destination.pk, seconds * random.uniform(1, 1.2))


def note_answer(destination: Destination) -> None:
    """Reset the failures of a destination that answers again."""
    if destination.failures:
        Destination.objects.filter(pk=destination.pk).update(failures=0)


@transaction.atomic
def switch_off(destination: Destination, because: str, *, actor: Actor = ACTOR) -> None:
    """Switch a destination off, and record it in the ledger."""
    on = Destination.objects.filter(pk=destination.pk, switched_off_at=None)
    if on.update(switched_off_at=Now(), switched_off_because=because):
        record_change(
            "destination.switched_off",
            destination,
            actor,
            before="on",
            after="off",
            explanation=because,
        )


def record_change(
    action: str,
    destination: Destination,
    actor: Actor,
    *,
    before: str,
    after: str,
    **more: str,
) -> None:
    """Record a destination's settings before and after a change."""
    details = {"destination": destination.name} | more
    details |= changed(before=before, after=after)
    record(action, actor=actor, details=details)


def _hold(destinations: QuerySet[Destination], seconds: float) -> None:
    until = Now() + timedelta(seconds=seconds)
    # A longer wait stays.
    destinations.filter(Q(waits_until=None) | Q(waits_until__lt=until)).update(
        waits_until=until
    )
