"""Which deliveries an act asks for: adds the rows, in the caller's transaction, and finds acts that got none."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from alerts.models import Card, Delivery, Destination, Route
from approvals.models import Message
from audit.models import Entry
from common.logs import trace_id, traced

# How far back acts are looked at again, and how long their own planning may take.
LOOK_BACK, PATIENCE = timedelta(minutes=10), timedelta(seconds=10)

# A held card waits this long for the content, so that one post tells the fingerprint and the risk too.
CONTENT_PAUSE = timedelta(seconds=1)
# What turns a card. Fetching the content is left out: the pause gives it time, and an edit would cost a request.
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


def plan(entry: Entry, *, message_id: UUID) -> list[Delivery]:
    """Add a delivery for each destination whose route asks for this action, and return what should be nudged."""
    wanted = Destination.objects.filter(switched_off_at=None, routes__actions__contains=[entry.action]).distinct()
    # Always in one order: two acts on one message lock the same deliveries.
    wanted = wanted.order_by("pk").prefetch_related("routes")
    destinations = [destination for destination in wanted if _reaches(destination, entry)]
    if not destinations:
        return []
    planned = []
    message = Message.objects.only("pk").get(public_id=message_id)
    for destination in destinations:
        card, _ = Card.objects.get_or_create(destination=destination, message=message)
        # Under its lock, so that no worker takes it, and builds the card from before this act, until this act is there.
        waiting = Delivery.objects.select_for_update().filter(card=card, state=Delivery.State.DUE).first()
        if waiting is None:
            pause = CONTENT_PAUSE if entry.action == "message.held" else timedelta(0)
            waiting = Delivery.objects.create(
                card=card, action=entry.action, trace=trace_id.get(), next_attempt_at=Now() + pause
            )
        planned.append(waiting)
    return planned


def plan_missed() -> int:
    """Plan what a mistake kept from being planned when it happened; return how many acts that were."""
    wanted = {
        action
        for actions in Route.objects.filter(destination__switched_off_at=None).values_list("actions", flat=True)
        for action in actions
    }
    covered = Delivery.objects.filter(card__message__public_id=OuterRef("message")).filter(
        Q(state__in=(Delivery.State.DUE, Delivery.State.SENDING))
        | Q(created_at__gte=OuterRef("at"))
        | Q(last_attempt_at__gte=OuterRef("at"))
    )
    lately = Entry.objects.filter(at__gt=Now() - LOOK_BACK, at__lt=Now() - PATIENCE, action__in=wanted)
    planned = 0
    for entry in lately.exclude(message=None).exclude(Exists(covered)).order_by("id")[:200]:
        with transaction.atomic(), traced(entry.trace):
            planned += bool(entry.message and plan(entry, message_id=entry.message))
    return planned


def _reaches(destination: Destination, entry: Entry) -> bool:
    return any(
        entry.action in route.actions and route.connection_id in (None, entry.connection)
        for route in destination.routes.all()
    )
