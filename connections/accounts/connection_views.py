"""One connection: how it is, its keys, its webhook; renaming, moving, pausing and removing it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from approvals import wakeups
from common.pages import DeskRequest
from connections.accounts import own_webhook, pausing, removing, rights, rotation, webhook_status
from connections.accounts.changing import rename, set_address
from connections.accounts.checks import check_address
from connections.accounts.forms import AddressForm, NameForm, PauseForm, RemoveForm
from connections.accounts.key_slots import SLOTS, problem_in, shown_start
from connections.accounts.views import row_of
from connections.errors import ConnectionNotChanged
from connections.page_base import connection_seen, told_by
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Connection, WebhookEvent
from people.actors import Actor
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_safe
def connection(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show one connection."""
    return page(request, connection_seen(request, connection_id))


def page(request: DeskRequest, found: Connection, *, status: int = 200, **more: Any) -> HttpResponse:
    """Render the page of a connection. `more`: `problem` with the `section` it belongs to, what was typed, results."""
    actor: Actor = request.actor
    context = {
        "one": found,
        "row": row_of(found, actor, now=timezone.now()),
        "slots": slots_of(found),
        "hook": hook_of(found),
        "overlaps": [(name, words) for name, (words, _) in rotation.OVERLAPS.items()],
        "may_change": rights.may_change(actor, found),
        "may_remove": rights.may_add(actor),
        "typed": {},
        **more,
    }
    return render(request, "approvals/connection.html", context, status=status)


def failed(request: DeskRequest, found: Connection, error: DeskError, *, section: str) -> HttpResponse:
    """Render the page with what went wrong, in the section that it went wrong in."""
    status, told = told_by(error)
    return page(request, Connection.objects.get(pk=found.pk), status=status, section=section, **told)


def slots_of(found: Connection) -> list[dict[str, Any]]:
    """Return what the page shows of each key: never the key."""
    rows = []
    for name, slot in SLOTS.items():
        key, scopes = getattr(found, slot.field), found.key_scopes.get(name)
        is_known = name in found.key_scopes
        problem = problem_in(slot, scopes) if key and is_known else ""
        rows.append(
            {
                "slot": slot,
                "is_there": bool(key),
                "start": shown_start(key),
                "scopes": scopes,
                "is_known": is_known,
                "problem": problem,
                "tone": "plain" if not key else "rose" if problem else "green" if is_known else "amber",
            }
        )
    return rows


def hook_of(found: Connection) -> dict[str, Any]:
    """Return what the page shows of the webhook: never the secret."""
    return {
        "address": webhook_status.address_of(found),
        "unreachable": webhook_status.unreachable_because(found),
        "events": WebhookEvent.objects.filter(connection=found).count(),
        "wanted": webhook_status.wanted_events(found),
        "is_open": rotation.is_open(found),
        "rotates": bool(found.upstream_webhook_id and found.admin_key and found.is_our_gateway),
    }


@login_required
@require_POST
def rename_connection(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Give it another name."""
    found, form = connection_seen(request, connection_id), NameForm(request.POST)
    if not form.is_valid():
        typed = {"name": request.POST.get("name", "")}
        return page(request, found, status=422, section="name", problem=form.sentences()["name"], typed=typed)
    try:
        rename(connection=found, name=form.cleaned_data["name"], actor=request.actor)
    except (ActNotAllowed, ConnectionNotChanged) as error:
        return failed(request, found, error, section="name")
    messages.info(request, f"It is called {form.cleaned_data['name']} now.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
@reauthenticated
def change_address(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Ask a gateway at another address from now on, once the same account has answered there."""
    found, form, at = connection_seen(request, connection_id), AddressForm(request.POST), "address"
    section = at if found.is_our_gateway else ""
    try:
        # Before its keys go anywhere.
        rights.check_may_change(request.actor, found)
        typed = {at: request.POST.get(at, "")[:200]}
        if not form.is_valid():
            return page(request, found, status=422, section=section, problem=form.sentences()[at], typed=typed)
        url = form.cleaned_data[at]
        problem, account = check_address(connection=found, api_url=url)
        if problem:
            return page(request, found, status=422, section=section, problem=problem, typed=typed)
        set_address(connection=found, api_url=url, account=account, actor=request.actor)
    except (ActNotAllowed, ConnectionNotChanged) as error:
        return failed(request, found, error, section=section)
    wakeups.read_connection(found)
    messages.info(request, f"{found} is asked at {url} from now on, and is being read there.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
def pause(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Carry out nothing through it until somebody lets it go on."""
    found, form = connection_seen(request, connection_id), PauseForm(request.POST)
    if not form.is_valid():
        typed = {"reason": request.POST.get("reason", "")}
        return page(request, found, status=422, section="pause", problem=form.sentences()["reason"], typed=typed)
    try:
        pausing.pause_by_hand(connection=found, reason=form.cleaned_data["reason"], actor=request.actor)
    except (ActNotAllowed, ConnectionNotChanged) as error:
        return failed(request, found, error, section="pause")
    messages.info(request, f"{found} is paused. What is decided waits here.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_POST
def resume(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Let it go on."""
    found = connection_seen(request, connection_id)
    try:
        pausing.resume(connection=found, actor=request.actor)
    except (ActNotAllowed, ConnectionNotChanged) as error:
        return failed(request, found, error, section="pause")
    wakeups.read_connection(found)
    messages.info(request, f"{found} goes on. What is due leaves now.", extra_tags="desk")
    return redirect("connection", connection_id=found.pk)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def remove(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Say what removing a connection means, and remove it once its name was typed."""
    found = connection_seen(request, connection_id)
    if not rights.may_add(request.actor):
        error = ActNotAllowed("Only an admin of everything can add or remove connections.")
        return failed(request, found, error, section="remove")
    if request.method != "POST":
        return _removal(request, found)
    form = RemoveForm(request.POST)
    if not form.is_valid():
        return _removal(request, found, status=422, problem=form.sentences()["name"])
    typed = form.cleaned_data["name"]
    try:
        removing.remove_connection(connection=found, typed_name=typed, actor=request.actor, now=timezone.now())
    except ConnectionNotChanged as error:
        return _removal(request, found, status=422, problem=error.sentence, typed=typed)
    left = own_webhook.unregister(found)
    messages.info(request, f"{found} was removed. Its history stays. {left}".strip(), extra_tags="desk")
    return redirect("connections")


def _removal(request: DeskRequest, found: Connection, *, status: int = 200, **more: Any) -> HttpResponse:
    context = {"one": found, "remains": removing.what_remains(found), **more}
    return render(request, "approvals/connection_remove.html", context, status=status)
