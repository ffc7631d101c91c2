"""Adds and removes routes, and finds which of the newest acts a route would have delivered."""

from collections.abc import Sequence

from alerts.cards.reading import details_of
from alerts.deliveries.planning import Act, read_acts
from alerts.deliveries.waits import record_change
from alerts.destinations.commands import check_may_manage, in_words, locked_destination
from alerts.destinations.wording import sentence
from alerts.errors import RouteExists, RouteMissing
from alerts.ledger_events import EVENTS, actions_of
from alerts.models import Route
from audit.models import Entry
from common.actors import Actor
from common.postgres.retry import atomic_with_retry
from people.second_admin.registry import second_admin

MAX_ACTS = 100


def newest_acts() -> list[Act]:
    """Return the newest acts that are events."""
    named = [action for event in EVENTS for action in event.actions]
    entries = Entry.objects.filter(action__in=named).select_related("detail").newest_first()[:MAX_ACTS]
    return read_acts([(entry, details_of(entry)) for entry in entries])


@atomic_with_retry
@second_admin("Destination", words=in_words("add a route"))
def add_route(
    *,
    destination_id: int,
    events: Sequence[str],
    connection: int | None = None,
    mailbox: int | None = None,
    actor: Actor,
) -> Route:
    """Add a route; without connection and mailbox, everywhere. Raises RouteExists where another includes all of it."""
    check_may_manage(actor)
    destination = locked_destination(destination_id)
    actions = actions_of(events)
    same = destination.routes.filter(connection=connection, mailbox=mailbox, actions__contains=actions).first()
    if same is not None:
        raise RouteExists(f"This route exists already: {sentence(same)}.")
    added = destination.routes.create(connection_id=connection, mailbox_id=mailbox, actions=actions)
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
