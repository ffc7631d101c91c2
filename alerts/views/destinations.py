"""The list of destinations, and adding, testing and changing one, for an admin of
everything.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from alerts.channels import all_channels, channel_of
from alerts.destinations import commands
from alerts.destinations.forms import DestinationForm, initial_of
from alerts.destinations.samples import privacy_samples
from alerts.destinations.wording import (
    destination_status,
    event_words,
    hidden_routes,
    privacy_summary,
    sentence,
)
from alerts.errors import NotChanged
from alerts.ledger_events import EVENTS
from alerts.models import Delivery, Destination
from alerts.views.access import find_destination, managing
from common.pages import DeskRequest, redirect_with_notice
from mirror.models import Connection
from people.sign_in.reauthentication import reauthenticated


@require_safe
def alerts(request: DeskRequest) -> HttpResponse:
    """Show the destinations with their state, and the newest deliveries with their
    answers.
    """
    return _list(request)


@require_http_methods(["GET", "HEAD", "POST"])
@managing
@reauthenticated
def add(request: DeskRequest) -> HttpResponse:
    """Add a destination; the next page offers to test it, and one that signs shows its
    secret first, this once.
    """
    form = _form(request, None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form, None)
    try:
        added = commands.add_destination(
            settings=form.settings(), url=form.url, actor=request.actor
        )
    except NotChanged as error:
        form.add_error("answers_channel", error.sentence)
        return _page(request, form, None)
    if form.channel.makes_secret:
        return _secret(request, added, added.secret, is_new=True)
    return _to_list(request, added, f"{added} is added. Send a test to check it.")


@require_http_methods(["GET", "HEAD", "POST"])
@managing
@reauthenticated
def change(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Change a destination's settings, and its address or token where another one is
    typed.
    """
    destination = find_destination(destination_id)
    form = _form(request, destination)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form, destination)
    settings = form.settings()
    try:
        commands.change_destination(
            destination_id=destination_id,
            settings=settings,
            url=form.url,
            actor=request.actor,
        )
    except NotChanged as error:
        form.add_error("answers_channel", error.sentence)
        return _page(request, form, destination)
    notice = f"{settings.name} is changed."
    if destination.switched_off_at:
        notice += " It is still switched off: send a test, and switch it on again."
    return _to_list(request, destination, notice)


@require_POST
@managing
def test(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Post a test and say what came of it. Waits for the other side, four seconds at
    most.
    """
    destination = find_destination(destination_id)
    result = commands.test_destination(
        destination_id=destination_id, actor=request.actor
    )
    if not result.accepted:
        return _list(request, status=502, failed=(destination.pk, result.sentence))
    notice = f"{destination}: {result.sentence}"
    if destination.switched_off_at:
        notice += " Switch it on again to deliver there."
    return _to_list(request, destination, notice)


@require_POST
@managing
def on(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Switch a destination on again."""
    destination = commands.switch_on(destination_id=destination_id, actor=request.actor)
    return _to_list(
        request, destination, f"{destination} is on. Send a test to check it."
    )


@require_POST
@managing
def off(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Switch a destination off."""
    destination = commands.switch_off(
        destination_id=destination_id, actor=request.actor
    )
    return _to_list(request, destination, f"{destination} is switched off.")


@require_POST
@managing
def remove(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Remove a destination."""
    destination = commands.remove_destination(
        destination_id=destination_id, actor=request.actor
    )
    notice = f"{destination} is removed. Its posts stay."
    return redirect_with_notice(request, notice, _next(request) or "alerts")


@require_POST
@managing
@reauthenticated
def rotate(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Sign with a new secret, shown this once; the old one signs too for a day, unless
    it leaked.
    """
    destination = find_destination(destination_id)
    leaked = request.POST.get("leaked") == "yes"
    overlap = {"overlap": timedelta(0)} if leaked else {}
    try:
        secret = commands.rotate_secret(
            destination_id=destination_id, actor=request.actor, **overlap
        )
    except NotChanged as error:
        form = _form(request, destination, is_sent=False)
        return _page(request, form, destination, error=error.sentence)
    return _secret(request, destination, secret, is_new=False, leaked=leaked)


def _secret(
    request: DeskRequest, destination: Destination, secret: str, **more: bool
) -> HttpResponse:
    context = {
        "destination": destination,
        "secret": secret,
        "next": _next(request),
        **more,
    }
    answer = render(request, "alerts/secret.html", context)
    answer["Cache-Control"] = "no-store"
    return answer


def _form(
    request: DeskRequest, destination: Destination | None, *, is_sent: bool = True
) -> DestinationForm:
    connections = Connection.objects.filter(removed_at=None).order_by("name")
    return DestinationForm(
        request.POST if request.method == "POST" and is_sent else None,
        connections=connections.values_list("pk", "name"),
        kind=destination.kind if destination else "",
        initial=initial_of(destination, request.GET.get("kind", "")),
    )


def _page(
    request: DeskRequest,
    form: DestinationForm,
    destination: Destination | None,
    *,
    error: str = "",
) -> HttpResponse:
    context: dict[str, Any] = {
        "destination": destination,
        "channel": form.channel,
        "form": form,
        "may_manage": True,
        "kinds": all_channels().values(),
        "error": error,
        "levels": privacy_samples(form.channel.kind),
        "events": EVENTS,
        "next": _next(request),
    }
    if destination:
        context["address"] = form.channel.address(destination)
        context["status"] = destination_status(destination, timezone.now())
        context["routes"] = [
            (one, sentence(one), event_words(one)) for one in destination.routes.all()
        ]
    status = 422 if form.errors or error else 200
    return render(request, "alerts/destination.html", context, status=status)


def _list(
    request: DeskRequest, *, status: int = 200, failed: tuple[int, str] = (0, "")
) -> HttpResponse:
    hidden = hidden_routes(request.actor)
    rows = []
    for destination in Destination.objects.for_list():
        channel = channel_of(destination.kind)
        routes = destination.routes.all()
        row = {
            "destination": destination,
            "channel": channel,
            "address": channel.address(destination),
            "status": destination_status(destination, timezone.now()),
            "shows": privacy_summary(destination),
            "routes": [event_words(route, hidden=hidden) for route in routes],
            "error": failed[1] if failed[0] == destination.pk else "",
        }
        rows.append(row)
    context = {
        "rows": rows,
        "deliveries": Delivery.objects.for_list(request.actor)[:10],
        "dead": Delivery.objects.dead_for(request.actor),
        "may_manage": commands.may_manage(request.actor),
        "next": _next(request),
    }
    return render(request, "alerts/alerts.html", context, status=status)


def _next(request: DeskRequest) -> str:
    """Return the page of the desk that sent somebody here, to lead back to; empty where
    none did.
    """
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = wanted.startswith("/") and url_has_allowed_host_and_scheme(
        wanted, allowed_hosts=None
    )
    return wanted if is_ours else ""


def _to_list(
    request: DeskRequest, destination: Destination, notice: str
) -> HttpResponse:
    back = _next(request)
    query = f"?{urlencode({'next': back})}" if back else ""
    return redirect_with_notice(
        request, notice, f"{reverse('alerts')}{query}#destination-{destination.pk}"
    )
