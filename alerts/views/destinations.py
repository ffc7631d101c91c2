"""Where alerts go and what was delivered; adding, testing and changing where they go, for an admin of everything."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts.destinations import commands as destinations
from alerts.destinations import rights, secrets
from alerts.destinations.described import address_of
from alerts.destinations.forms import DestinationForm, initial_of
from alerts.destinations.levels import in_short
from alerts.destinations.samples import levels
from alerts.destinations.sentences import Reach, reach_of, sentence
from alerts.destinations.status import standing
from alerts.destinations.trying import test_destination
from alerts.errors import ChannelTaken, DestinationMissing, SecretStillTaken
from alerts.events import EVENTS
from alerts.models import Delivery, Destination
from alerts.views.managing import managing
from common.pages import DeskRequest
from mirror.models import Connection
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_safe
def alerts(request: DeskRequest) -> HttpResponse:
    """Show the destinations with their state, and the newest deliveries with their answers."""
    return _list(request)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@managing
@reauthenticated
def add(request: DeskRequest) -> HttpResponse:
    """Add a destination; the next page offers to test it, and one that signs shows its secret first, this once."""
    form = _form(request, None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form, None)
    wanted, url = form.wanted(), form.cleaned_data["url"]
    try:
        added = destinations.add_destination(settings=wanted, url=url, actor=request.actor)
    except ChannelTaken as error:
        form.add_error("answers_channel", error.sentence)
        return _page(request, form, None)
    if added.secret:
        return _secret(request, added, added.secret, is_new=True)
    messages.info(request, f"{added} is added. Send a test now, to see that it arrives.", extra_tags="desk")
    return _to_list(request, added)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@managing
@reauthenticated
def change(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Change what a destination is called, what it is told, and its address where another one is typed."""
    destination = _found(destination_id)
    form = _form(request, destination)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form, destination)
    wanted, url = form.wanted(), form.cleaned_data["url"]
    try:
        destinations.change_destination(destination_id=destination_id, settings=wanted, url=url, actor=request.actor)
    except DestinationMissing as error:
        raise Http404(error.sentence) from error
    except ChannelTaken as error:
        form.add_error("answers_channel", error.sentence)
        return _page(request, form, destination)
    off = " It is still switched off: send a test, and switch it on again." if destination.switched_off_at else ""
    messages.info(request, f"{wanted.name} is changed.{off}", extra_tags="desk")
    return _to_list(request, destination)


@login_required
@require_POST
@managing
def test(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Post a test there and say what came of it. Waits for the other side, four seconds at most."""
    destination = _found(destination_id)
    try:
        tried = test_destination(destination_id=destination_id, actor=request.actor)
    except DestinationMissing as error:
        raise Http404(error.sentence) from error
    if not tried.took:
        return _list(request, status=502, tried=(destination.pk, tried.sentence))
    now = " Switch it on again, and it is told." if destination.switched_off_at else ""
    messages.info(request, f"{destination}: {tried.sentence}{now}", extra_tags="desk")
    return _to_list(request, destination)


@login_required
@require_POST
@managing
def on(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Let alerts go there again."""
    destination = _done(request, destination_id, destinations.switch_on)
    messages.info(request, f"{destination} is on. Send a test, to see that it arrives.", extra_tags="desk")
    return _to_list(request, destination)


@login_required
@require_POST
@managing
def off(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Let nothing go there until somebody switches it on again."""
    destination = _done(request, destination_id, destinations.switch_off)
    messages.info(request, f"{destination} is switched off. Nothing goes there.", extra_tags="desk")
    return _to_list(request, destination)


@login_required
@require_POST
@managing
def remove(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Take a destination off."""
    destination = _done(request, destination_id, destinations.remove_destination)
    messages.info(request, f"{destination} is removed. What it was told stays where it is.", extra_tags="desk")
    return redirect(_next(request) or "alerts")


@login_required
@require_POST
@managing
@reauthenticated
def rotate(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Sign with a new secret, shown this once; the old one signs too for a day, unless it leaked."""
    destination = _found(destination_id)
    leaked = request.POST.get("leaked") == "yes"
    overlap = {"overlap": timedelta(0)} if leaked else {}
    try:
        secret = secrets.rotate_secret(destination_id=destination_id, actor=request.actor, **overlap)
    except DestinationMissing as error:
        raise Http404(error.sentence) from error
    except SecretStillTaken as error:
        return _page(request, _form(request, destination, is_sent=False), destination, problem=error.sentence)
    return _secret(request, destination, secret, is_new=False, leaked=leaked)


def _secret(request: DeskRequest, destination: Destination, secret: str, **told: bool) -> HttpResponse:
    context = {"destination": destination, "secret": secret, "next": _next(request), **told}
    answer = render(request, "alerts/secret.html", context)
    answer["Cache-Control"] = "no-store"
    return answer


def _done(request: DeskRequest, destination_id: int, command: Any) -> Destination:
    _found(destination_id)
    try:
        return command(destination_id=destination_id, actor=request.actor)  # type: ignore[no-any-return]
    except DestinationMissing as error:
        raise Http404(error.sentence) from error


def _found(destination_id: int) -> Destination:
    destination = Destination.objects.for_list().filter(pk=destination_id).first()
    if destination is None:
        raise Http404("There is no such destination any more. Somebody may have removed it.")
    return destination


def _form(request: DeskRequest, destination: Destination | None, *, is_sent: bool = True) -> DestinationForm:
    connections = Connection.objects.filter(removed_at=None).order_by("name").values_list("pk", "name")
    data = request.POST if request.method == "POST" and is_sent else None
    kind = destination.kind if destination else ""
    return DestinationForm(data, connections=connections, kind=kind, initial=initial_of(destination))


def _page(
    request: DeskRequest, form: DestinationForm, destination: Destination | None, *, problem: str = ""
) -> HttpResponse:
    problems = form.problems() if form.is_bound else {}
    context = {
        "destination": destination,
        "address": address_of(destination) if destination else "",
        "standing": standing(destination, timezone.now()) if destination else None,
        "may_manage": True,
        "kinds": Destination.Kind.choices,
        "routes": [(one, sentence(one)) for one in destination.routes.all()] if destination else [],
        "has_bot": bool(settings.DISCORD_BOT_TOKEN),
        "problem": problem,
        "typed": form.typed,
        "problems": problems,
        "levels": levels(destination.kind if destination else ""),
        "events": EVENTS,
        "connections": form.choices,
        "next": _next(request),
    }
    return render(request, "alerts/destination.html", context, status=422 if problems or problem else 200)


def _list(request: DeskRequest, *, status: int = 200, tried: tuple[int, str] = (0, "")) -> HttpResponse:
    reach = reach_of(request.actor)
    context = {
        "rows": [_row(one, tried, reach) for one in Destination.objects.for_list()],
        "deliveries": Delivery.objects.for_list(request.actor)[:10],
        "dead": Delivery.objects.dead_for(request.actor),
        "has_bot": bool(settings.DISCORD_BOT_TOKEN),
        "may_manage": rights.may_manage(request.actor),
        "next": _next(request),
    }
    return render(request, "alerts/alerts.html", context, status=status)


def _row(destination: Destination, tried: tuple[int, str], reach: Reach | None) -> dict[str, Any]:
    return {
        "destination": destination,
        "address": address_of(destination),
        "standing": standing(destination, timezone.now()),
        "shows": in_short(destination),
        "routes": [sentence(route, reach=reach) for route in destination.routes.all()],
        "problem": tried[1] if tried[0] == destination.pk else "",
    }


def _next(request: DeskRequest) -> str:
    """Return the page of the desk that sent somebody here, to lead back to; empty where none did."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if is_ours else ""


def _to_list(request: DeskRequest, destination: Destination) -> HttpResponse:
    back = _next(request)
    asked = f"?{urlencode({'next': back})}" if back else ""
    return redirect(f"{reverse('alerts')}{asked}#destination-{destination.pk}")
