"""Adds and removes routes, and finds which of the newest acts a route would have delivered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, OuterRef, Subquery
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce

from alerts.deliveries.waits import record_change
from alerts.destinations.commands import check_may_manage, in_words, locked_destination
from alerts.destinations.wording import sentence
from alerts.errors import RouteExists, RouteMissing
from alerts.ledger_events import EVENTS, REFUSED, actions_of, event_of
from alerts.models import Route
from audit.models import Entry, EntryDetail
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from mirror.models import Mailbox, Message
from people.second_admin.registry import second_admin

MAX_ACTS = 100


@dataclass(frozen=True)
class RouteSettings:
    """A route as the form returns it. Without connection and mailbox: everywhere."""

    events: Sequence[str]
    connection: int | None = None
    mailbox: int | None = None

    @property
    def actions(self) -> list[str]:
        """The acts of the ledger that these events stand for."""
        return actions_of(self.events)


def would_go(acts: Iterable[Any], settings: RouteSettings, *, around: int | None = None) -> list[Any]:
    """Return the acts that this route would deliver, by its events and its scope, with the same rules as planning.

    `around` is the connection of the mailbox, where the route names one.
    """
    actions = set(settings.actions)
    return [act for act in acts if act.action in actions and _matches_scope(act, settings, around)]


def _matches_scope(act: Any, settings: RouteSettings, around: int | None) -> bool:
    if settings.mailbox is None:
        return settings.connection in (None, act.connection)
    # A route of a mailbox includes acts of its connection.
    event = event_of(act.action)
    is_of_connection = event is not None and event.about == "connection" and act.action != REFUSED
    return act.connection == around if is_of_connection else bool(act.mailbox == settings.mailbox)


def newest_acts() -> list[Any]:
    """Return the newest entries that are events, each with its mailbox and subject, in one query.

    Relies on the ledger's own order.
    """
    named = [action for event in EVENTS for action in event.actions]
    of_message = Message.objects.filter(public_id=OuterRef("message"))
    found = Entry.objects.filter(action__in=named).newest_first()
    # A refusal has no message: its mailbox is only in its details.
    refused_of = Mailbox.objects.filter(connection=OuterRef("connection"), address=OuterRef("named"))
    acts = found.annotate(
        named=Subquery(EntryDetail.objects.filter(entry=OuterRef("pk")).values(box=KT("fields__mailbox"))[:1]),
        mailbox=Coalesce(
            Subquery(of_message.values("mailbox_id")[:1]),
            Subquery(refused_of.values("pk")[:1]),
            output_field=BigIntegerField(),
        ),
        subject=Subquery(of_message.values("subject")[:1]),
    )
    return list(acts[:MAX_ACTS])


@atomic_with_retry
@second_admin("Destination", words=in_words("add a route"))
def add_route(*, destination_id: int, settings: RouteSettings, actor: Actor) -> Route:
    """Add a route. Raises RouteExists where another one includes all of it."""
    check_may_manage(actor)
    destination = locked_destination(destination_id)
    if existing := destination.routes.filter(
        connection=settings.connection, mailbox=settings.mailbox, actions__contains=settings.actions
    ).first():
        raise RouteExists(f"This route exists already: {sentence(existing)}.")
    added = Route.objects.create(
        destination=destination,
        connection_id=settings.connection,
        mailbox_id=settings.mailbox,
        actions=settings.actions,
    )
    record_change("destination.route_added", destination, actor, before="", after=f"told when {sentence(added)}")
    return added


@atomic_with_retry
@second_admin("Destination", words=in_words("remove a route"))
def remove_route(*, destination_id: int, route_id: int, actor: Actor) -> None:
    """Remove a route. Existing cards still follow their messages."""
    check_may_manage(actor)
    destination = locked_destination(destination_id)
    route = destination.routes.select_related("connection", "mailbox").filter(pk=route_id).first()
    if route is None:
        raise RouteMissing("This route was removed in the meantime.")
    record_change("destination.route_removed", destination, actor, before=f"told when {sentence(route)}", after="")
    route.delete()
