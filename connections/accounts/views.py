"""The list of connections with the health of each, and adding one. For one connection
see `connection_views.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from approvals.reconcile.ask_again import read_again, readable_by
from approvals.tasks import read_connection
from common.actors import Actor
from common.pages import DeskRequest, page_or_fragment, redirect_with_notice
from connections.accounts import commands
from connections.accounts.forms import OURS, AddConnectionForm
from connections.accounts.keys import SLOTS, check_all
from connections.errors import AccountConnected, ConnectionNotChanged
from connections.pages import get_visible_connection_or_404
from mirror.errors import ActNotAllowed
from mirror.models import Connection, WebhookEvent
from mirror.sync.health import Freshness, freshness_of
from mirror.tasks import read_mailboxes
from people.sign_in.reauthentication import reauthenticated
from upstream.hosts import HOSTED


@dataclass(frozen=True)
class Health:
    """A connection's health: a word, its tone, and what to do about it, if anything."""

    word: str
    tone: str
    advice: str = ""


@require_safe
def connections(request: DeskRequest) -> HttpResponse:
    """Show each account: its address, mailboxes, which keys it has, when it was last
    read, and what is wrong.
    """
    return connections_page(request)


def connections_page(
    request: DeskRequest, *, status: int = 200, error: str = ""
) -> HttpResponse:
    """Render the list of connections, with the error if there was one."""
    actor = request.actor
    context = {
        "rows": connection_rows(actor, now=timezone.now()),
        "error": error,
        "may_add": actor.is_admin_of_all,
        "removed": Connection.objects.removed()
        .visible_to(actor)
        .order_by("-removed_at"),
    }
    return page_or_fragment(
        request,
        page="connections/connections.html",
        fragment="connections/_connections.html",
        context=context,
        status=status,
    )


@require_POST
def read_now(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Read a whole account now instead of within half a minute."""
    found = get_visible_connection_or_404(request, connection_id)
    try:
        connection = read_again(connection_id=found.pk, actor=request.actor)
    except ActNotAllowed as error:
        return connections_page(request, status=403, error=error.sentence)
    notice = f"{connection} is being read. The result appears here in a moment."
    match request.POST.get("back"):
        case "connection":
            return redirect_with_notice(
                request, notice, "connection", connection_id=connection.pk
            )
        case "attention":
            return redirect_with_notice(request, notice, "attention")
    return redirect_with_notice(request, notice, "connections")


def connection_rows(actor: Actor, *, now: datetime) -> list[dict[str, Any]]:
    """Return what the page shows of each account the actor has a role for."""
    visible = Connection.objects.at_work().visible_to(actor).order_by("name")
    return rows_of(visible, actor, now=now)


def rows_of(
    connections: Iterable[Connection], actor: Actor, *, now: datetime
) -> list[dict[str, Any]]:
    """Return what pages show of these connections, without their keys."""
    readable = set(readable_by(actor).values_list("pk", flat=True))
    visible = WebhookEvent.objects.visible_to(actor)
    rows = []
    for connection in connections:
        freshness = freshness_of(connection, now=now)
        events = visible.filter(connection=connection)
        until = connection.previous_secret_until
        if not connection.previous_webhook_secret or (until and until <= now):
            until = None
        rows.append(
            {
                "connection": connection,
                "may_read": connection.pk in readable,
                "freshness": freshness,
                "since": connection.paused_at or connection.failing_since,
                "health": health_of(connection, freshness, now=now),
                "mailboxes": connection.mailboxes.visible_to(actor).order_by("address"),
                "keys": [
                    (slot.label, bool(getattr(connection, slot.field)), slot.turns_on)
                    for slot in SLOTS.values()
                ],
                "last_event": events.order_by("-pk").first(),
                "old_secret_until": until,
                "to_look_at": events.to_look_at().count(),
            }
        )
    return rows


def health_of(connection: Connection, freshness: Freshness, *, now: datetime) -> Health:
    """Return a connection's health in words. It is never well before it was read."""
    if connection.paused_by_hand:
        return Health(
            "Paused", "amber", "Decisions wait here until an admin resumes it."
        )
    if connection.paused_at:
        advice = "Enter a key that MultiMail accepts. The next successful read ends the pause."
        return Health("Paused", "rose", advice)
    if connection.wait_until and connection.wait_until > now:
        advice = f"MultiMail asked the desk to wait until {connection.wait_until:%H:%M:%S} UTC."
        return Health("Waits", "amber", advice)
    if freshness.as_of is None:
        advice = "It is read every half minute. If this stays, check its address and oversight key."
        return Health("Not read yet", "amber", advice)
    if freshness.level == "green" and not connection.failing_since:
        return Health("Healthy", "green")
    word = "Late"
    advice = (
        "No read was completed since. Check that a worker runs: ./run manage doctor."
    )
    if connection.failing_since:
        word = "Failing"
        advice = "The desk tries again at least once a minute. Newer held mail may be missing here."
    if freshness.level == "red":
        return Health("Out of date", "rose", advice)
    return Health(word, "amber", advice)


@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def add(request: DeskRequest) -> HttpResponse:
    """Add a connection. Nothing is saved before MultiMail has accepted its keys."""
    if not request.actor.is_admin_of_all:
        return connections_page(
            request,
            status=403,
            error="Only an admin of everything can add connections.",
        )
    typed = request.POST if request.method == "POST" else None
    form = AddConnectionForm(typed, initial={"place": OURS})
    if not form.is_valid():
        return _add_page(request, form)
    cleaned = form.cleaned_data
    keys = form.keys_of(cleaned)
    checks = check_all(api_url=cleaned["api_url"], keys=keys)
    for slot, check in checks.items():
        if check.problem:
            form.add_error(SLOTS[slot].field, check.problem)
    if form.errors:
        return _add_page(request, form)
    try:
        added = commands.add_connection(
            actor=request.actor,
            name=cleaned["name"],
            api_url=cleaned["api_url"],
            keys=keys,
            scopes={name: check.scopes for name, check in checks.items()},
            is_our_gateway=cleaned["place"] == OURS,
            # Hosted MultiMail tells an oversight key nothing about the account.
            account=next(
                (check.account for check in checks.values() if check.account), ""
            ),
            now=timezone.now(),
        )
    except AccountConnected as error:
        form.add_error("oversight_key", error.sentence)
        return _add_page(request, form)
    except ConnectionNotChanged as error:
        form.add_error("name", error.sentence)
        return _add_page(request, form)
    except ActNotAllowed as error:
        return connections_page(request, status=403, error=error.sentence)
    read_connection.delay_on_commit(added.pk)
    read_mailboxes.delay_on_commit(added.pk)
    notice = f"{added} is connected and being read. Register its webhook next."
    return redirect_with_notice(request, notice, "connection", connection_id=added.pk)


def _add_page(request: DeskRequest, form: AddConnectionForm) -> HttpResponse:
    options = [
        (
            "ours",
            "Built-in gateway",
            f"It runs with this desk at {settings.MULTIMAIL_API_URL}.",
        ),
        ("hosted", "Hosted MultiMail", f"An account at {HOSTED}."),
        (
            "other",
            "Another address",
            "A gateway elsewhere. Its address must be in OUTGOING_ALLOW.",
        ),
    ]
    context = {
        "form": form,
        "places": options,
        "slots": [(slot, form[slot.field].errors) for slot in SLOTS.values()],
    }
    status = 422 if form.errors else 200
    return render(request, "connections/connection_add.html", context, status=status)
