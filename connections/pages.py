"""What the pages and forms of connections share: looking up what the actor sees, and answering a failed change."""

import secrets
from typing import Any

from django import forms
from django.core.cache import cache
from django.http import Http404, HttpResponse
from django.shortcuts import render

from common.forms import SentenceForm
from common.pages import DeskRequest
from connections.errors import ChangeRefused, ChangeUnknown, CodeWanted, ConnectionNotChanged
from mirror.errors import ActNotAllowed, DeskError
from mirror.models import Connection, Mailbox
from people.actors import Actor, Role

CHANGE_ERRORS = (ActNotAllowed, ChangeRefused, ChangeUnknown, ConnectionNotChanged)
# What a failed change is answered with; every other one with 422.
_STATUSES = ((ActNotAllowed, 403), (CodeWanted, 202), (ChangeUnknown, 502))
_DAY = 24 * 3600


class ApprovalCodeForm(SentenceForm):
    """A form whose change may want the code of whoever runs MultiMail; it is entered on the second try."""

    approval_code = forms.CharField(
        required=False, max_length=40, error_messages={"max_length": "A code has at most 40 characters."}
    )


def get_visible_connection_or_404(request: DeskRequest, connection_id: int) -> Connection:
    """Return a connection that the actor sees. Raises Http404."""
    connection = Connection.objects.at_work().visible_to(request.actor).filter(pk=connection_id).first()
    if connection is None:
        raise Http404("There is no such connection, or you do not see it.")
    return connection


def get_visible_mailbox_or_404(request: DeskRequest, mailbox_id: int) -> Mailbox:
    """Return a mailbox that the actor sees. Raises Http404."""
    visible = Mailbox.objects.at_work().visible_to(request.actor).select_related("connection")
    mailbox = visible.filter(pk=mailbox_id).first()
    if mailbox is None:
        raise Http404("There is no such mailbox, or you do not see it.")
    return mailbox


def is_admin(actor: Actor, connection: Connection, mailbox: int | None = None) -> bool:
    """Whether the actor may change things of the connection, or of this mailbox of it."""
    return actor.is_a(Role.ADMIN, connection=connection.pk, mailbox=mailbox)


def administered_connections(actor: Actor) -> list[Connection]:
    """Return the connections that the actor is an admin of, whole."""
    visible = Connection.objects.at_work().visible_to(actor).order_by("name", "pk")
    return [connection for connection in visible if is_admin(actor, connection)]


def answer(
    request: DeskRequest,
    template: str,
    context: dict[str, Any],
    *,
    status: int = 200,
    form: SentenceForm | None = None,
    failed: DeskError | None = None,
) -> HttpResponse:
    """Render a page: with the errors of an invalid `form`, or with why a change `failed`, and the status for either."""
    if form is not None:
        status, context = 422, {**context, "wrong": form.errors_by_field()}
    if failed is not None:
        status = next((status for kind, status in _STATUSES if isinstance(failed, kind)), 422)
        context = {**context, "problem": failed.sentence, "wants_code": isinstance(failed, CodeWanted)}
    return render(request, template, {"wrong": {}, **context}, status=status)


def new_ticket() -> str:
    """Return a token that makes a form good for one submission."""
    return secrets.token_urlsafe(12)


def take_ticket(request: DeskRequest) -> bool:
    """Whether this form is submitted for the first time: reloading the answer must not make a second key."""
    ticket = request.POST.get("ticket", "")
    return 8 <= len(ticket) <= 40 and cache.add(f"ticket:{request.actor.id}:{ticket}", 1, _DAY)
