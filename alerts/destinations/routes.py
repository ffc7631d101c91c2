"""Adds and removes routes, and tells which of the newest acts would have gone by one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import BigIntegerField, OuterRef, Subquery
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce

from alerts.destinations.locked import locked
from alerts.destinations.rights import check_may_manage
from alerts.destinations.sentences import sentence
from alerts.errors import RouteMissing, RouteThere
from alerts.events import EVENTS, REFUSED, actions_of, event_of
from alerts.models import Route
from audit.models import Entry, EntryDetail
from audit.recording import changed, record
from common.postgres.anew import atomic_anew
from mirror.models import Mailbox, Message
from people.actors import Actor

LOOKED_AT = 100


@dataclass(frozen=True)
class Wanted:
    """A route as a form gives it. Without connection and mailbox: what happens anywhere."""

    events: Sequence[str]
    connection: int | None = None
    mailbox: int | None = None

    @property
    def actions(self) -> list[str]:
        """The acts of the ledger that these events are."""
        return actions_of(self.events)


@dataclass(frozen=True)
class Act:
    """What happened lately, as far as a route asks for it."""

    action: str
    connection: int | None
    mailbox: int | None
    at: datetime
    message: UUID | None = None
    subject: str = ""

    @property
    def is_of_connection(self) -> bool:
        """Whether it is about no mail, but about a whole connection."""
        event = event_of(self.action)
        return event is not None and event.about == "connection" and self.action != REFUSED


def would_go(acts: Iterable[Act], wanted: Wanted, *, around: int | None = None) -> list[Act]:
    """Return the acts that this route would tell of, as they are planned: of its events, at its place.

    `around` is the connection of the mailbox, where the route names one.
    """
    actions = set(wanted.actions)
    return [act for act in acts if act.action in actions and _is_there(act, wanted, around)]


def _is_there(act: Act, wanted: Wanted, around: int | None) -> bool:
    if wanted.mailbox is None:
        return wanted.connection in (None, act.connection)
    # Who is told of a mailbox is told of its connection too.
    return act.connection == around if act.is_of_connection else act.mailbox == wanted.mailbox


def newest_acts() -> list[Act]:
    """Return the newest acts that are events, newest first, in one query (relies on the ledger's own order)."""
    named = [action for event in EVENTS for action in event.actions]
    of_message = Message.objects.filter(public_id=OuterRef("message"))
    found = Entry.objects.filter(action__in=named).newest_first()
    # What was refused has no message, and names its mailbox in its details alone.
    refused_of = Mailbox.objects.filter(connection=OuterRef("connection"), address=OuterRef("named"))
    told = found.annotate(
        named=Subquery(EntryDetail.objects.filter(entry=OuterRef("pk")).values(box=KT("fields__mailbox"))[:1]),
        mailbox=Coalesce(
            Subquery(of_message.values("mailbox_id")[:1]),
            Subquery(refused_of.values("pk")[:1]),
            output_field=BigIntegerField(),
        ),
        subject=Subquery(of_message.values("subject")[:1]),
    )
    kept = told.values_list("action", "connection", "mailbox", "at", "message", "subject")[:LOOKED_AT]
    return [Act(*one[:-1], subject=one[-1] or "") for one in kept]


@atomic_anew
def add_route(*, destination_id: int, wanted: Wanted, actor: Actor) -> Route:
    """Have a destination told of these events too. Raises RouteThere where one route tells it of all of them."""
    check_may_manage(actor)
    destination = locked(destination_id)
    if there := destination.routes.filter(
        connection=wanted.connection, mailbox=wanted.mailbox, actions__contains=wanted.actions
    ).first():
        raise RouteThere(f"It is told of this already: when {sentence(there)}.")
    added = Route.objects.create(
        destination=destination, connection_id=wanted.connection, mailbox_id=wanted.mailbox, actions=wanted.actions
    )
    told = {"destination": destination.name, **changed(before="", after=f"told when {sentence(added)}")}
    record("destination.route_added", actor=actor, details=told)
    return added


@atomic_anew
def remove_route(*, destination_id: int, route_id: int, actor: Actor) -> None:
    """Have a destination told no more of what this route names. Cards that are there still follow their messages."""
    check_may_manage(actor)
    destination = locked(destination_id)
    route = destination.routes.select_related("connection", "mailbox").filter(pk=route_id).first()
    if route is None:
        raise RouteMissing("This route was removed in the meantime.")
    told = {"destination": destination.name, **changed(before=f"told when {sentence(route)}", after="")}
    route.delete()
    record("destination.route_removed", actor=actor, details=told)
