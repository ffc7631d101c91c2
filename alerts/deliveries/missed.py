"""Finds acts of the last minutes that were not planned because of an error, and plans them."""

from datetime import timedelta

from django.db import transaction
from django.db.models import CharField, Exists, OuterRef, Q, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Concat, Now

from alerts.channels import card_kinds
from alerts.deliveries.planning import ANSWERED, PLANNED_ACTIONS, UPDATES_ONLY, Planned
from alerts.ledger_events import REFUSED
from alerts.models import Card, Delivery, Destination, Route
from alerts.models.destinations import OneSpelling
from audit.models import Entry, EntryQuerySet
from common.logs import traced
from mirror.models import Message

# How far back acts are looked at again, and how long their own planning may take.
LOOK_BACK, PATIENCE = timedelta(minutes=10), timedelta(seconds=10)
_AT_A_TIME = 200
# The same key as alerts.ledger_events.about_key returns.
_REFUSAL = Concat(Value("refusal/"), Cast(OuterRef("pk"), CharField()))
_CONNECTION = Concat(Value("connection/"), Cast(OuterRef("connection"), CharField()))


def plan_missed() -> int:
    """Plan recent acts that were not planned because of an error; return how many there were."""
    planned = 0
    for entry in (
        acts_to_look_at().filter(_without_card() | _without_event() | _without_answer()).order_by("id")[:_AT_A_TIME]
    ):
        with transaction.atomic(), traced(entry.trace):
            planned += bool(Planned(entry).destinations)
    return planned


def acts_to_look_at() -> EntryQuerySet:
    """Return the acts of the last minutes that should have been planned by now."""
    return Entry.objects.filter(at__gt=Now() - LOOK_BACK, at__lt=Now() - PATIENCE, action__in=PLANNED_ACTIONS)


def _routes() -> list[Route]:
    return list(Route.objects.filter(destination__switched_off_at=None).select_related("destination", "mailbox"))


def _asked_by(route: Route) -> Q:
    """The acts that a route asks for since it is there, as the statement that plans them reads it."""
    asked = Q(action__in=set(route.actions) - set(UPDATES_ONLY))
    asked &= Q(at__gte=route.since) & Q(at__gte=route.destination.told_since)
    if route.connection_id is not None:
        asked &= Q(connection=route.connection_id)
    if route.mailbox is not None:
        mine = Message.objects.filter(public_id=OuterRef("message"), mailbox=route.mailbox)
        refused = Q(action=REFUSED, detail__fields__mailbox=route.mailbox.address)
        of_connection = ~Q(action=REFUSED) & Q(message=None)
        asked &= Q(Exists(mine)) | (Q(connection=route.mailbox.connection_id) & (refused | of_connection))
    return asked


def _without_card() -> Q:
    """The acts that make or change a card of which nothing is due or went out since."""
    making = Q(pk__in=[])
    for route in _routes():
        if route.destination.kind in card_kinds():
            making |= _asked_by(route)
    here = Card.objects.filter(destination__switched_off_at=None, destination__told_since__lte=OuterRef("at"))
    deliveries = Delivery.objects.filter(kind=Delivery.Kind.CARD).filter(
        Q(state__in=(Delivery.State.DUE, Delivery.State.SENDING))
        | Q(created_at__gte=OuterRef("at"))
        | Q(last_attempt_at__gte=OuterRef("at"))
    )
    missed = Q(pk__in=[])
    for which, cards, planned in (
        (
            Q(message__isnull=False),
            {"message__public_id": OuterRef("message")},
            {"message__public_id": OuterRef("message")},
        ),
        (Q(message=None, action=REFUSED), {"about": _REFUSAL}, {"card__about": _REFUSAL}),
        (Q(message=None) & ~Q(action=REFUSED), {"about": _CONNECTION}, {"card__about": _CONNECTION}),
    ):
        changing = Q(Exists(here.filter(**cards)))
        missed |= which & (making | changing) & ~Q(Exists(deliveries.filter(**planned)))
    return missed


def _without_event() -> Q:
    """The acts whose event a program should have received."""
    missed = Q(pk__in=[])
    for route in _routes():
        if route.destination.kind not in card_kinds():
            planned = Delivery.objects.filter(destination=route.destination, kind="event", entry=OuterRef("pk"))
            missed |= _asked_by(route) & ~Q(Exists(planned))
    return missed


def _without_answer() -> Q:
    """The acts that should have been answered in the channel whose command started the message."""
    missed = Q(pk__in=[])
    answering = Destination.objects.filter(switched_off_at=None, kind__in=card_kinds()).exclude(answers_channel="")
    destinations = list(answering.order_by("pk"))
    names = [OneSpelling(Value(one.answers_channel)) for one in destinations]
    started = Message.objects.annotate(
        channel=Coalesce(OneSpelling(KT("trigger__discord_channel")), Value("")),
        channel_id=Coalesce(OneSpelling(KT("trigger__discord_channel_id")), Value("")),
    )
    known: set[str] = set()
    for destination, name in zip(destinations, names, strict=True):
        here = Q(channel=name) | Q(channel_id=name)
        # As the statement has it: where no name fits, the first that posts there.
        posts_in = destination.channel or destination.posts_in
        if posts_in and posts_in not in known:
            known.add(posts_in)
            here |= (Q(channel=posts_in) | Q(channel_id=posts_in)) & ~Q(channel__in=names) & ~Q(channel_id__in=names)
        mine = started.filter(here, public_id=OuterRef("message"))
        answered = Delivery.objects.filter(destination=destination, kind="answer", entry=OuterRef("pk"))
        due = Q(action__in=ANSWERED, at__gte=destination.told_since)
        missed |= due & Q(Exists(mine)) & ~Q(Exists(answered))
    return missed
