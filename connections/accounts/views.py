"""The connected MultiMail accounts: how each is in words, and reading one now."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals import wakeups
from approvals.intake import senders
from approvals.reconcile.ask_again import read_again, readable_by
from common.pages import DeskRequest, page_or_fragment
from connections.accounts.key_slots import SLOTS
from connections.accounts.rights import may_add
from mirror.errors import ActNotAllowed
from mirror.models import Connection, WebhookEvent
from mirror.sync.freshness import Freshness, freshness_of
from people.actors import Actor


@dataclass(frozen=True)
class Health:
    """How a connection is: a word, its tone, and what to do about it where anything is to do."""

    word: str
    tone: str
    advice: str = ""


@login_required
@require_safe
def connections(request: DeskRequest) -> HttpResponse:
    """Show each account: its address, mailboxes, which keys it has, when it was last read, and what is wrong."""
    return connections_page(request)


def connections_page(request: DeskRequest, *, status: int = 200, problem: str = "") -> HttpResponse:
    """Render the list of connections, with what went wrong where anything did."""
    actor: Actor = request.actor
    context = {
        "rows": connection_rows(actor, now=timezone.now()),
        "problem": problem,
        "may_add": may_add(actor),
        "removed": Connection.objects.removed().visible_to(actor).order_by("-removed_at"),
    }
    page, fragment = "approvals/connections.html", "approvals/_connections.html"
    return page_or_fragment(request, page=page, fragment=fragment, context=context, status=status)


@login_required
@require_POST
def read_now(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Have a whole account read now instead of in half a minute."""
    actor: Actor = request.actor
    if not Connection.objects.at_work().visible_to(actor).filter(pk=connection_id).exists():
        raise Http404("There is no such connection, or you do not see it.")
    try:
        connection = read_again(connection_id=connection_id, actor=actor)
    except ActNotAllowed as error:
        return connections_page(request, status=403, problem=error.sentence)
    wakeups.read_connection(connection)
    messages.info(request, f"{connection} is being read; what comes of it stands here in a moment.", extra_tags="desk")
    back = request.POST.get("back")
    if back == "connection":
        return redirect("connection", connection_id=connection.pk)
    return redirect("attention" if back == "attention" else "connections")


def connection_rows(actor: Actor, *, now: datetime) -> list[dict[str, Any]]:
    """Return what the page shows of each account the actor has a role for; no key ever leaves this function."""
    connections = list(Connection.objects.at_work().visible_to(actor).order_by("name"))
    readable = set(readable_by(actor).values_list("pk", flat=True))
    forged = senders.unsigned_lately(connection.pk for connection in connections)
    return [_row(one, actor, now, may_read=one.pk in readable, forged=forged.get(one.pk, 0)) for one in connections]


def row_of(connection: Connection, actor: Actor, *, now: datetime) -> dict[str, Any]:
    """Return the same of one connection."""
    may_read = readable_by(actor).filter(pk=connection.pk).exists()
    return _row(
        connection, actor, now, may_read=may_read, forged=senders.unsigned_lately([connection.pk]).get(connection.pk, 0)
    )


def _row(connection: Connection, actor: Actor, now: datetime, *, may_read: bool, forged: int) -> dict[str, Any]:
    events, freshness = WebhookEvent.objects.visible_to(actor), freshness_of(connection, now=now)
    return {
        "connection": connection,
        "may_read": may_read,
        "freshness": freshness,
        "since": connection.paused_at or connection.failing_since,
        "health": health_of(connection, freshness, now=now),
        "mailboxes": connection.mailboxes.visible_to(actor).order_by("address"),
        "keys": [(slot.label, bool(getattr(connection, slot.field)), slot.turns_on) for slot in SLOTS.values()],
        "last_event": events.filter(connection=connection).order_by("-pk").first(),
        "old_secret_until": _old_secret_until(connection, now),
        "unsigned": forged,
        "to_look_at": events.to_look_at().filter(connection=connection).count(),
    }


def health_of(connection: Connection, freshness: Freshness, *, now: datetime) -> Health:
    """Return how a connection is, in words: never well while it was not read."""
    if connection.paused_by_hand:
        return Health("Paused", "amber", "What is decided stays recorded here until an admin lets it go on.")
    if connection.paused_at:
        return Health("Paused", "rose", "Put in a key that MultiMail takes. A read that works ends the pause.")
    if connection.wait_until and connection.wait_until > now:
        return Health("Waits", "amber", f"MultiMail asked to be left alone until {connection.wait_until:%H:%M:%S} UTC.")
    if freshness.as_of is None:
        advice = "It is read every half minute. If that does not come to pass, look at its address and oversight key."
        return Health("Not read yet", "amber", advice)
    if connection.failing_since:
        advice = "It is tried again by itself, once a minute at least. What MultiMail holds since may be missing here."
        return Health("Out of date" if freshness.level == "red" else "Failing", _tone(freshness), advice)
    if freshness.level != "green":
        advice = "No read has come to its end since. See whether a worker runs: ./run manage doctor."
        return Health("Out of date" if freshness.level == "red" else "Late", _tone(freshness), advice)
    return Health("Well", "green")


def _tone(freshness: Freshness) -> str:
    return "rose" if freshness.level == "red" else "amber"


def _old_secret_until(connection: Connection, now: datetime) -> datetime | None:
    until = connection.previous_secret_until
    return until if connection.previous_webhook_secret and until and until > now else None
