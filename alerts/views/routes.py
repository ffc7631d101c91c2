"""Routes of a destination: put together as a sentence, looked at, added and removed."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from alerts.destinations import routes
from alerts.destinations.forms import RouteForm
from alerts.destinations.samples import told_of
from alerts.errors import DestinationMissing, RouteMissing, RouteThere
from alerts.events import EVENTS, events_named
from alerts.models import Destination
from alerts.views.managing import managing
from common.pages import DeskRequest
from mirror.models import Connection, Mailbox
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@managing
@reauthenticated
def add_route(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Put a route together: first shown with its card and the newest acts that it would tell of, then added."""
    destination = Destination.objects.kept().filter(pk=destination_id).first()
    if destination is None:
        raise Http404("There is no such destination any more. Somebody may have removed it.")
    form = RouteForm(request.POST if request.method == "POST" else None, places=_places())
    if not form.is_bound or not form.is_valid():
        return _page(request, destination, form)
    if request.POST.get("do") != "add":
        return _page(request, destination, form, **_preview(destination, form.wanted()))
    try:
        routes.add_route(destination_id=destination_id, wanted=form.wanted(), actor=request.actor)
    except DestinationMissing as error:
        raise Http404(error.sentence) from error
    except RouteThere as error:
        form.add_error("events", error.sentence)
        return _page(request, destination, form)
    messages.info(request, f"{destination} is told from now on.", extra_tags="desk")
    return redirect("destination", destination_id)


@login_required
@require_POST
@managing
def remove_route(request: DeskRequest, destination_id: int, route_id: int) -> HttpResponse:
    """Take a route off."""
    try:
        routes.remove_route(destination_id=destination_id, route_id=route_id, actor=request.actor)
    except (DestinationMissing, RouteMissing) as error:
        raise Http404(error.sentence) from error
    messages.info(request, "The route is removed.", extra_tags="desk")
    return redirect("destination", destination_id)


def _places() -> list[tuple[str, str]]:
    connections = Connection.objects.filter(removed_at=None).order_by("name")
    boxes = Mailbox.objects.filter(connection__removed_at=None).order_by("address", "pk")
    return [
        *((f"connection-{key}", name) for key, name in connections.values_list("pk", "name")),
        *((f"mailbox-{box.pk}", f"the mailbox {box}") for box in boxes),
    ]


def _preview(destination: Destination, wanted: routes.Wanted) -> dict[str, Any]:
    acts, connection = routes.newest_acts(), _connection_of(wanted)
    return {
        "told": told_of(events_named(wanted.events), destination, connection),
        "looked_at": len(acts),
        "gone": routes.would_go(acts, wanted, around=connection),
        "is_previewed": True,
    }


def _connection_of(wanted: routes.Wanted) -> int | None:
    """Return a connection for the samples: the route's own, or the first that there is."""
    if wanted.mailbox is not None:
        return Mailbox.objects.filter(pk=wanted.mailbox).values_list("connection", flat=True).first()
    kept = Connection.objects.filter(removed_at=None).order_by("name").values_list("pk", flat=True)
    return wanted.connection or kept.first()


def _page(request: DeskRequest, destination: Destination, form: RouteForm, **more: Any) -> HttpResponse:
    problems = {str(name): str(errors[0]) for name, errors in form.errors.items()} if form.is_bound else {}
    context = {
        "destination": destination,
        "legend": f"{destination} is told when …",
        "events": EVENTS,
        "places": form.places,
        "chosen": request.POST.getlist("events") if form.is_bound else ["email.held"],
        "place": request.POST.get("place", ""),
        "problems": problems,
        **more,
    }
    return render(request, "alerts/route.html", context, status=422 if problems else 200)
