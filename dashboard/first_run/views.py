"""The page of the first run, and hiding the reminder that links to it."""

import json
import shlex

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from common.pages import DeskRequest
from dashboard.first_run.steps import left, set_up
from mirror.models import Connection

PUT_AWAY = "setup_put_away"


@require_safe
def setup(request: DeskRequest) -> HttpResponse:
    """Show what is done of the first run, and what to do next."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    found = set_up()
    context = {
        "found": found,
        "command": first_message_command(found.connection),
        "gateway_url": settings.MULTIMAIL_API_URL,
    }
    return render(request, "dashboard/setup.html", context)


@require_POST
def put_away(request: DeskRequest) -> HttpResponse:
    """Hide the reminder until the person signs in again. The page itself stays."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    request.session[PUT_AWAY] = True
    return redirect("home")


def reminder(request: HttpRequest) -> str:
    """Return the reminder of the steps that are left; empty if there are none, or if it
    was hidden.
    """
    return "" if request.session.get(PUT_AWAY) else left(request.actor)  # type: ignore[attr-defined]


def first_message_command(connection: Connection | None) -> dict[str, str]:
    """Return a command that sends a first message, with a placeholder for the key, and
    its sender.
    """
    if connection is None:
        return {}
    mailbox = connection.mailboxes.exclude(address="").order_by("address").first()
    message = {
        "from": mailbox.address if mailbox else "agent@your-team.example",
        "to": "dana@northwind.example",
        "subject": "Hello from the first run",
        "body": "Hello **Dana**, this is the first message.",
    }
    line = (
        f"curl -s {connection.api_url}/v1/send_email \\\n"
        '  -H "Authorization: Bearer AGENT-KEY" -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(message))}"
    )
    return {
        "line": line,
        "mailbox": message["from"],
        "is_known": "yes" if mailbox else "",
    }
