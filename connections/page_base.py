"""What the pages of mailboxes, API keys and webhooks share: whose account it is, and what a failed change answers."""

import secrets
from typing import Any

from django.core.cache import cache
from django.http import Http404

from common.pages import DeskRequest
from connections.errors import ChangeRefused, ChangeUnknown, CodeWanted
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Connection, Mailbox
from people.actors import Actor, Role

CHANGE_ERRORS = (ActNotAllowed, ChangeRefused, ChangeUnknown)
_A_DAY = 24 * 3600


def connection_seen(request: DeskRequest, connection_id: int) -> Connection:
    """Return a connection that the actor sees. Raises Http404."""
    connection = Connection.objects.at_work().visible_to(request.actor).filter(pk=connection_id).first()
    if connection is None:
        raise Http404("There is no such connection, or you do not see it.")
    return connection


def mailbox_seen(request: DeskRequest, mailbox_id: int) -> Mailbox:
    """Return a mailbox that the actor sees. Raises Http404."""
    boxes = Mailbox.objects.at_work().visible_to(request.actor).select_related("connection")
    mailbox = boxes.filter(pk=mailbox_id).first()
    if mailbox is None:
        raise Http404("There is no such mailbox, or you do not see it.")
    return mailbox


def is_admin(actor: Actor, connection: Connection, mailbox: int | None = None) -> bool:
    """Whether the actor may change things of the connection, or of this mailbox of it."""
    return actor.is_a(Role.ADMIN, connection=connection.pk, mailbox=mailbox)


def accounts_of(actor: Actor) -> list[Connection]:
    """Return the connections that the actor is an admin of, whole."""
    seen = Connection.objects.at_work().visible_to(actor).order_by("name", "pk")
    return [connection for connection in seen if is_admin(actor, connection)]


def told_by(error: DeskError) -> tuple[int, dict[str, Any]]:
    """Return the status that a failed change is answered with, and what its page says."""
    told = {"problem": error.sentence, "wants_code": isinstance(error, CodeWanted)}
    if isinstance(error, ActNotAllowed):
        return 403, told
    if isinstance(error, CodeWanted):
        return 202, told
    return (502 if isinstance(error, ChangeUnknown) else 422), told


def new_ticket() -> str:
    """Return what makes a form good for one time."""
    return secrets.token_urlsafe(12)


def take_ticket(request: DeskRequest) -> bool:
    """Whether the form that came was not sent before: reloading what it answered must not make a second key."""
    ticket = request.POST.get("ticket", "")
    return 8 <= len(ticket) <= 40 and cache.add(f"ticket:{request.actor.id}:{ticket}", 1, _A_DAY)
