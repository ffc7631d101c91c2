"""The pages of destinations: the list, the forms that add and change a destination and
its routes, and the buttons that test, switch and remove one. Everybody who signed in
can see the list; only an admin of everything can change something.
"""

from datetime import timedelta
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from alerts.channels import channel_of, shared_channels
from alerts.destinations import commands
from alerts.destinations.forms import DestinationForm, RouteForm
from alerts.destinations.wording import (
    destination_status,
    event_words,
    privacy_notes,
    sentence,
)
from alerts.errors import DestinationMissing, NotChanged
from alerts.models import Delivery, Destination
from common.pages import (
    DeskRequest,
    View,
    answer,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from common.typed_secrets import posted_with_secrets, save_secrets
from people.second_admin.setting import mails_name_subjects
from people.sign_in.reauthentication import reauthenticated


def managing(view: View) -> View:
    """Decorate a view so that only users who may manage destinations get it. A removed
    destination is a 404.
    """

    @wraps(view)
    def guarded(request: DeskRequest, **of_url: Any) -> HttpResponse:
        commands.check_may_manage(request.actor)
        try:
            return view(request, **of_url)
        except DestinationMissing as error:
            raise Http404(error.sentence) from error

    return guarded


def find_destination(destination_id: int) -> Destination:
    """Return a destination with its routes. Raises Http404 if it was removed."""
    return first_or_404(
        Destination.objects.for_list().filter(pk=destination_id),
        "There is no such destination. Somebody may have removed it.",
    )


@require_get_or_post
@managing
@reauthenticated
def edit(request: DeskRequest, destination_id: int | None = None) -> HttpResponse:
    """The form that adds or changes a destination. Its address or token stay as they
    are if none is typed. After adding, the list offers a test; if the desk made a
    secret, a page shows it first, this once.
    """
    destination = find_destination(destination_id) if destination_id else None
    form = DestinationForm(
        posted_with_secrets(request),
        destination=destination,
        initial={"kind": request.GET.get("kind", "")},
    )
    if not form.is_valid():
        return _page(request, form, destination)
    settings = form.cleaned_data
    try:
        if destination is None:
            saved = commands.add_destination(settings=settings, actor=request.actor)
        else:
            saved = commands.change_destination(
                destination_id=destination.pk, settings=settings, actor=request.actor
            )
    except NotChanged as error:
        form.add_error("answers_channel", error.sentence)
        return _page(request, form, destination)
    if destination is None and form.channel.makes_secret:
        return _secret(request, saved, saved.secret, is_new=True)
    notice = f"{saved} is changed."
    if destination is None:
        notice = f"{saved} is added. Send a test to check it."
    elif saved.switched_off_at:
        notice += " It is still switched off: send a test, and switch it on again."
    return _to_list(request, saved, notice)


@require_POST
@managing
def test(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Post a test, and say whether it was accepted. Waits for the service, four seconds
    at most.
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
def switch(request: DeskRequest, destination_id: int, *, on: bool) -> HttpResponse:
    command = commands.switch_on if on else commands.switch_off
    destination = command(destination_id=destination_id, actor=request.actor)
    notice = "on. Send a test to check it." if on else "switched off."
    return _to_list(request, destination, f"{destination} is {notice}")


@require_POST
@managing
def remove(request: DeskRequest, destination_id: int) -> HttpResponse:
    destination = commands.remove_destination(
        destination_id=destination_id, actor=request.actor
    )
    return _to_list(request, destination, f"{destination} is removed. Its posts stay.")


@require_POST
@managing
@reauthenticated
def rotate(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Make a new secret, and show it this once. Events are signed with the old one too
    for a day, unless it leaked.
    """
    destination = find_destination(destination_id)
    leaked = request.POST.get("leaked") == "yes"
    overlap = timedelta(0) if leaked else commands.OVERLAP
    try:
        secret = commands.rotate_secret(
            destination_id=destination_id, actor=request.actor, overlap=overlap
        )
    except NotChanged as error:
        form = DestinationForm(destination=destination)
        return _page(request, form, destination, error)
    return _secret(request, destination, secret, is_new=False, leaked=leaked)


@require_get_or_post
@managing
@reauthenticated
def add_route(request: DeskRequest, destination_id: int) -> HttpResponse:
    """Add a route."""
    destination = find_destination(destination_id)
    form = RouteForm(
        request.POST or None, initial={"events": ["email.held"], "place": ""}
    )
    if form.is_valid():
        try:
            commands.add_route(
                destination_id=destination_id, actor=request.actor, **form.cleaned_data
            )
        except NotChanged as error:
            form.add_error("events", error.sentence)
        else:
            notice = f"The route to {destination} is added."
            return redirect_with_notice(
                request, notice, "destination", destination_id=destination_id
            )
    context = {"destination": destination, "form": form}
    return answer(request, "alerts/route.html", context, form=form)


@require_POST
@managing
def remove_route(
    request: DeskRequest, destination_id: int, route_id: int
) -> HttpResponse:
    commands.remove_route(
        destination_id=destination_id, route_id=route_id, actor=request.actor
    )
    return redirect_with_notice(
        request, "The route is removed.", "destination", destination_id=destination_id
    )


def _secret(
    request: DeskRequest, destination: Destination, secret: str, **more: bool
) -> HttpResponse:
    # The page that shows a new secret, this once.
    context = {
        "destination": destination,
        "secret": secret,
        **more,
    }
    return render(request, "alerts/secret.html", context)


def _page(
    request: DeskRequest,
    form: DestinationForm,
    destination: Destination | None,
    error: NotChanged | None = None,
) -> HttpResponse:
    # The page with the form of a destination, and its routes if it exists.
    save_secrets(request, form)
    context: dict[str, Any] = {
        "destination": destination,
        "channel": form.channel,
        "form": form,
        "may_manage": True,
        "kinds": shared_channels().values(),
    }
    if destination:
        context["status"] = destination_status(destination)
        context["routes"] = [
            (one, sentence(one), event_words(one)) for one in destination.routes.all()
        ]
    return answer(request, "alerts/destination.html", context, error, form=form)


def _list(
    request: DeskRequest, *, status: int = 200, failed: tuple[int, str] = (0, "")
) -> HttpResponse:
    """Show the destinations with their state, and the newest deliveries with their
    answers. `failed` is the key of a destination whose test failed, and why.
    """
    # Who sees only some mail does not learn what else there is.
    is_hidden = not request.actor.sees_all()
    rows = []
    for destination in Destination.objects.for_list():
        channel = channel_of(destination.kind)
        routes = destination.routes.all()
        rows.append(
            {
                "destination": destination,
                "channel": channel,
                "address": channel.address(destination),
                "status": destination_status(destination),
                "shows": privacy_notes(channel)[destination.privacy],
                "routes": [event_words(route, is_hidden=is_hidden) for route in routes],
                "error": failed[1] if failed[0] == destination.pk else "",
            }
        )
    context = {
        "rows": rows,
        "deliveries": Delivery.objects.for_list(request.actor)[:10],
        "may_manage": request.actor.is_admin_of_all,
        "names_subjects": mails_name_subjects(),
    }
    return render(request, "alerts/alerts.html", context, status=status)


alerts = require_safe(_list)


def _to_list(
    request: DeskRequest, destination: Destination, notice: str
) -> HttpResponse:
    # "setup" if the list leads back to the set-up page.
    back = request.GET.get("next")
    query = f"?{urlencode({'next': back})}" if back else ""
    return redirect_with_notice(
        request, notice, f"{reverse('alerts')}{query}#destination-{destination.pk}"
    )
