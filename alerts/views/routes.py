"""Routes of a destination: previewed, added and removed."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from alerts.channels import channel_of
from alerts.deliveries.planning import Act, asks, read_acts
from alerts.destinations import commands
from alerts.destinations.forms import RouteForm
from alerts.destinations.samples import event_samples
from alerts.errors import NotChanged
from alerts.ledger_events import EVENTS, actions_of, events_named
from alerts.models import Destination, Route
from alerts.views.access import find_destination, managing
from audit.models import Entry
from common.pages import DeskRequest, redirect_with_notice
from mirror.models import Connection, Mailbox
from people.sign_in.reauthentication import reauthenticated

MAX_ACTS = 100


@require_http_methods(["GET", "HEAD", "POST"])
@managing
@reauthenticated
def add_route(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Add a route, after a preview of its cards and of the newest acts that it would
    have delivered.
    """
    destination = find_destination(destination_id)
    connections = Connection.objects.filter(removed_at=None).order_by("name")
    mailboxes = Mailbox.objects.filter(connection__removed_at=None)
    scopes = [
        (f"connection-{key}", name)
        for key, name in connections.values_list("pk", "name")
    ]
    scopes += [
        (f"mailbox-{mailbox.pk}", f"the mailbox {mailbox}")
        for mailbox in mailboxes.order_by("address", "pk")
    ]
    form = RouteForm(
        request.POST if request.method == "POST" else None,
        scopes=scopes,
        initial={"events": ["email.held"], "place": ""},
    )
    if not form.is_bound or not form.is_valid():
        return _page(request, destination, form)
    events = form.cleaned_data["events"]
    place = form.chosen_place()
    if request.POST.get("do") != "add":
        acts = newest_acts()
        route = Route(
            destination=destination,
            actions=actions_of(events),
            connection_id=place.get("connection"),
            mailbox_id=place.get("mailbox"),
        )
        # For the samples: the route's own connection, or the first that there is.
        of_mailbox = route.mailbox.connection_id if route.mailbox else None
        connection = of_mailbox or route.connection_id
        if connection is None:
            connection = connections.values_list("pk", flat=True).first()
        return _page(
            request,
            destination,
            form,
            samples=event_samples(events_named(events), destination, connection),
            looked_at=len(acts),
            acts=[act for act in acts if asks(route, act)],
            is_previewed=True,
        )
    try:
        commands.add_route(
            destination_id=destination_id, events=events, actor=request.actor, **place
        )
    except NotChanged as error:
        form.add_error("events", error.sentence)
        return _page(request, destination, form)
    notice = f"The route to {destination} is added."
    return redirect_with_notice(
        request, notice, "destination", destination_id=destination_id
    )


@require_POST
@managing
def remove_route(
    request: DeskRequest, destination_id: int, route_id: int
) -> HttpResponse:
    """Remove a route."""
    commands.remove_route(
        destination_id=destination_id, route_id=route_id, actor=request.actor
    )
    return redirect_with_notice(
        request, "The route is removed.", "destination", destination_id=destination_id
    )


def newest_acts() -> list[Act]:
    """Return the newest acts that are events."""
    named = [action for event in EVENTS for action in event.actions]
    entries = (
        Entry.objects.filter(action__in=named).with_details().newest_first()[:MAX_ACTS]
    )
    return read_acts(entries)


def _page(
    request: DeskRequest, destination: Destination, form: RouteForm, **more: Any
) -> HttpResponse:
    context = {
        "destination": destination,
        "channel": channel_of(destination.kind),
        "events": EVENTS,
        "form": form,
        **more,
    }
    return render(
        request, "alerts/route.html", context, status=422 if form.errors else 200
    )
