"""Where alerts go and what was delivered; adding, testing and changing where they go, for an admin of everything."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts.errors import DestinationMissing, DestinationNotAllowed
from alerts.models import Delivery, Destination
from alerts.places import destinations, rights
from alerts.places.addresses import masked
from alerts.places.forms import DestinationForm, initial_of
from alerts.places.samples import samples
from approvals.models import Connection
from common.pages import DeskRequest
from people.reauthentication import reauthenticated


def _managing(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Let a view run only for those who may say where alerts go."""

    @wraps(view)
    def asked(request: DeskRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            rights.check_may_manage(request.actor)
        except DestinationNotAllowed as error:
            return _list(request, status=403, problem=error.sentence)
        return view(request, *args, **kwargs)

    return asked


@login_required
@require_safe
def alerts(request: DeskRequest) -> HttpResponse:
    """Show the destinations with their state, and the newest deliveries with their answers."""
    return _list(request)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@_managing
@reauthenticated
def add(request: DeskRequest) -> HttpResponse:
    """Add a Discord webhook; the next page offers to test it."""
    form = _form(request, None)
    if request.method != "POST" or not form.is_valid():
        return _page(request, form, None)
    wanted, url = form.wanted(), form.cleaned_data["url"]
    added = destinations.add_destination(settings=wanted, url=url, actor=request.actor)
    messages.info(request, f"{added} is added. Send a test now, to see that it arrives.", extra_tags="desk")
    return _to_list(request, added)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@_managing
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
    messages.info(request, f"{wanted.name} is changed.", extra_tags="desk")
    return _to_list(request, destination)


@login_required
@require_POST
@_managing
def test(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Post a test there and say what came of it. Waits for Discord, ten seconds at most."""
    destination = _found(destination_id)
    try:
        tried = destinations.test_destination(destination_id=destination_id, actor=request.actor)
    except DestinationMissing as error:
        raise Http404(error.sentence) from error
    if not tried.took:
        return _list(request, status=502, tried=(destination.pk, tried.sentence))
    messages.info(request, f"{destination}: {tried.sentence}", extra_tags="desk")
    return _to_list(request, destination)


@login_required
@require_POST
@_managing
def on(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Let alerts go there again."""
    destination = _done(request, destination_id, destinations.switch_on)
    messages.info(request, f"{destination} is on. Send a test, to see that it arrives.", extra_tags="desk")
    return _to_list(request, destination)


@login_required
@require_POST
@_managing
def remove(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Take a destination off."""
    destination = _done(request, destination_id, destinations.remove_destination)
    messages.info(request, f"{destination} is removed. What it was told stays in Discord.", extra_tags="desk")
    return redirect(_next(request) or "alerts")


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


def _form(request: DeskRequest, destination: Destination | None) -> DestinationForm:
    connections = Connection.objects.filter(removed_at=None).order_by("name").values_list("pk", "name")
    data = request.POST if request.method == "POST" else None
    return DestinationForm(data, connections=connections, is_new=destination is None, initial=initial_of(destination))


def _page(request: DeskRequest, form: DestinationForm, destination: Destination | None) -> HttpResponse:
    problems = form.problems() if form.is_bound else {}
    context = {
        "destination": destination,
        "address": masked(destination.url) if destination else "",
        "typed": form.typed,
        "problems": problems,
        "samples": samples(),
        "occasions": destinations.OCCASION_WORDS.items(),
        "connections": form.choices,
        "next": _next(request),
    }
    return render(request, "alerts/destination.html", context, status=422 if problems else 200)


def _list(
    request: DeskRequest, *, status: int = 200, problem: str = "", tried: tuple[int, str] = (0, "")
) -> HttpResponse:
    found = list(Destination.objects.for_list())
    context = {
        "rows": [_row(one, tried) for one in found],
        "deliveries": Delivery.objects.for_list(request.actor)[:50],
        "may_manage": rights.may_manage(request.actor),
        "problem": problem,
        "next": _next(request),
    }
    return render(request, "alerts/alerts.html", context, status=status)


def _row(destination: Destination, tried: tuple[int, str]) -> dict[str, Any]:
    routes = list(destination.routes.all())
    occasions = destinations.occasions_of(destination)
    return {
        "destination": destination,
        "address": masked(destination.url),
        "occasions": [words for name, words in destinations.OCCASION_WORDS.items() if name in occasions],
        "connections": [route.connection for route in routes if route.connection is not None],
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
