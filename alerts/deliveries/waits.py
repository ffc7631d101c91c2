"""Holds a whole destination back, or switches it off; what is due there waits in its row."""

import random
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from alerts.channels import all_channels, channel_of
from alerts.models import Destination
from audit.recording import changed, record
from people.actors import Actor, worker

ACTOR = worker("alerts")
# Seconds of rest by failures in a row: one that is down costs others no worker, and what waits is not tried all at
# once. The first failure may be the fault of one card.
REST_AFTER = (0, 5, 15, 30, 60)


def hold_back(destination_id: int, seconds: float) -> None:
    """Let nothing go to this destination for so long."""
    _hold(Destination.objects.filter(pk=destination_id), seconds)


def hold_back_service(kind: str, seconds: float) -> None:
    """Let nothing go to any destination of the same service for so long: it asked for that."""
    service = channel_of(kind).service
    kinds = [one.kind for one in all_channels().values() if one.service == service]
    _hold(Destination.objects.filter(kind__in=kinds), seconds)


def note_failure(destination: Destination) -> None:
    """Count a failure that may pass, and let the destination rest when it is not the first."""
    seconds = REST_AFTER[min(destination.failures, len(REST_AFTER) - 1)]
    Destination.objects.filter(pk=destination.pk).update(failures=F("failures") + 1)
    if seconds:
        hold_back(destination.pk, seconds * random.uniform(1, 1.2))


def note_answer(destination: Destination) -> None:
    """It answers again, after failures."""
    if destination.failures:
        Destination.objects.filter(pk=destination.pk).update(failures=0)


@transaction.atomic
def switch_off(destination: Destination, because: str, *, actor: Actor = ACTOR) -> None:
    """Let nothing go to a destination any more, and say so in the ledger."""
    on = Destination.objects.filter(pk=destination.pk, switched_off_at=None)
    if on.update(switched_off_at=Now(), switched_off_because=because):
        record_change("destination.switched_off", destination, actor, before="on", after="off", explanation=because)


def record_change(action: str, destination: Destination, actor: Actor, *, before: str, after: str, **more: str) -> None:
    """Record how a destination was set, and how it is set now."""
    details = {"destination": destination.name, **more, **changed(before=before, after=after)}
    record(action, actor=actor, details=details)


def _hold(destinations: QuerySet[Destination], seconds: float) -> None:
    until = Now() + timedelta(seconds=seconds)
    # A wait that is longer still holds.
    destinations.filter(Q(waits_until=None) | Q(waits_until__lt=until)).update(waits_until=until)
