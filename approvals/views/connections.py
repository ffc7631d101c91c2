"""The connected MultiMail accounts and their health."""

from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.freshness import freshness_of
from approvals.models import Connection, WebhookEvent
from common.pages import DeskRequest
from people.actors import Actor


@login_required
@require_safe
def connections(request: DeskRequest) -> HttpResponse:
    """Show each account: its address, mailboxes, which keys it has, when it was last read, and what is wrong."""
    return render(request, "approvals/connections.html", {"rows": connection_rows(request.actor, now=timezone.now())})


def connection_rows(actor: Actor, *, now: datetime) -> list[dict[str, Any]]:
    """Return what the page shows of each account the actor has a role for; no key ever leaves this function."""
    return [
        {
            "connection": connection,
            "freshness": freshness_of(connection, now=now),
            "mailboxes": connection.mailboxes.visible_to(actor).order_by("address"),
            "keys": [
                ("Oversight", bool(connection.oversight_key), "reads and decides"),
                ("Read", bool(connection.read_key), "threads and attachments"),
                ("Admin", bool(connection.admin_key), "mailboxes, keys, allowlists"),
                ("Agent", bool(connection.agent_key), "Discord commands"),
            ],
            "last_event": WebhookEvent.objects.filter(connection=connection).order_by("-pk").first(),
            "poison": WebhookEvent.objects.filter(connection=connection, result="poison").count(),
        }
        for connection in Connection.objects.visible_to(actor).order_by("name")
    ]
