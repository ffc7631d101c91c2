"""Plans deliveries from what the ledger records, in the same transaction; nobody calls this app to announce things."""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from alerts import tasks
from alerts.models import Card, Delivery, Destination
from approvals.models import Message
from audit.models import Entry
from common.logs import trace_id
from common.nudge import nudge

log = logging.getLogger(__name__)

# What turns a card. Fetching the content is left out: the held card says what the webhook said.
CARD_ACTIONS = (
    "message.held",
    "message.changed",
    "message.approved",
    "message.released",
    "message.rejected",
    "message.sent",
    "message.delivered",
    "message.bounced",
    "message.complained",
    "message.failed",
    "message.cancelled",
    "message.gone",
    "decision.recorded",
    "decision.undone",
    "decision.applied",
    "decision.refused",
    "decision.superseded",
    "decision.unknown",
    "decision.unattributed",
)


def on_recorded(entry: Entry, details: Mapping[str, str], **_: Any) -> None:
    """Plan what an entry asks for. A mistake here is logged and never costs the act that was recorded."""
    if entry.message is None or entry.action not in CARD_ACTIONS:
        return
    try:
        with transaction.atomic():
            plan(entry, message_id=entry.message)
    except Exception:
        log.exception("alert not planned", extra={"entry": entry.pk, "action": entry.action})


def plan(entry: Entry, *, message_id: UUID) -> None:
    """Add a delivery for each destination whose route asks for this action."""
    wanted = Destination.objects.filter(switched_off_at=None, routes__actions__contains=[entry.action]).distinct()
    # Always in one order: two acts on one message lock the same deliveries.
    wanted = wanted.order_by("pk").prefetch_related("routes")
    destinations = [destination for destination in wanted if _reaches(destination, entry)]
    if not destinations:
        return
    message = Message.objects.only("pk").get(public_id=message_id)
    for destination in destinations:
        card, _ = Card.objects.get_or_create(destination=destination, message=message)
        # Under its lock, so that no worker takes it, and builds the card from before this act, until this act is there.
        waiting = Delivery.objects.select_for_update().filter(card=card, state=Delivery.State.DUE).first()
        if waiting is None:
            waiting = Delivery.objects.create(card=card, action=entry.action, trace=trace_id.get())
        nudge(tasks.deliver, waiting.pk)


def _reaches(destination: Destination, entry: Entry) -> bool:
    return any(
        entry.action in route.actions and route.connection_id in (None, entry.connection)
        for route in destination.routes.all()
    )
