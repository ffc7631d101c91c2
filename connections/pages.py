"""Helpers for the pages of this package: look up a connection or mailbox that the actor
may see, show the error of a change that failed, and refuse a form that is sent twice.
"""

import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.core.cache import cache
from django.http import HttpResponse
from django.shortcuts import render

from common.actors import Actor
from common.errors import SentenceError
from common.pages import (
    CODE_INPUT,
    ChangeView,
    DeskRequest,
    DrawnForm,
    FormInvalid,
    View,
    first_or_404,
    only_for,
    redirect_with_notice,
)
from connections.changes import ChangeNotOffered, CodeWanted, is_admin
from mirror.errors import DeskError
from mirror.models import Connection, Mailbox

_DAY = 24 * 3600


class SentTwice(DeskError):
    """The form was sent before. The key or secret that it made was shown then."""


class ApprovalCodeForm(DrawnForm):
    """A form whose change may need a code from MultiMail's operator. The admin enters
    the code when sending the form for the second time.
    """

    approval_code = forms.CharField(
        label="Operator's code",
        required=False,
        max_length=40,
        widget=forms.TextInput({**CODE_INPUT, "autofocus": True}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Behind the fields of the form that inherits this one.
        self.fields["approval_code"] = self.fields.pop("approval_code")


def get_visible_connection_or_404(
    request: DeskRequest, connection_id: int
) -> Connection:
    """Return a connection that the actor may see. Raises Http404."""
    visible = Connection.objects.at_work().visible_to(request.actor)
    return first_or_404(
        visible.filter(pk=connection_id),
        "There is no such connection, or you may not see it.",
    )


def get_visible_mailbox_or_404(request: DeskRequest, mailbox_id: int) -> Mailbox:
    """Return a mailbox that the actor may see. Raises Http404."""
    visible = Mailbox.objects.at_work().visible_to(request.actor)
    return first_or_404(
        visible.filter(pk=mailbox_id).select_related("connection"),
        "There is no such mailbox, or you may not see it.",
    )


def administered_connections(actor: Actor) -> list[Connection]:
    """Return the connections of which the actor is an admin, not only of a mailbox."""
    visible = Connection.objects.at_work().visible_to(actor).order_by("name", "pk")
    return [connection for connection in visible if is_admin(actor, connection)]


def answer(
    request: DeskRequest,
    template: str,
    context: dict[str, Any],
    *,
    failed: SentenceError | None = None,
) -> HttpResponse:
    """Render a page. If a change `failed`, the page has the status that fits the error,
    and shows it; a form that was not valid shows its errors itself.
    """
    if failed and not isinstance(failed, FormInvalid):
        wants_code = isinstance(failed, CodeWanted)
        context = {**context, "error": failed.sentence, "wants_code": wants_code}
    return render(request, template, context, status=failed.status if failed else 200)


def accounts_page(
    request: DeskRequest,
    template: str,
    read: Callable[..., list[Any]],
    shown: Callable[[Connection, list[Any]], dict[str, Any]],
    *,
    failed: SentenceError | None = None,
) -> HttpResponse:
    """Render a page that lists, for every account of which the actor is an admin, what
    `read` returns for it. `shown` turns that into the template's context for the
    account.
    """
    connections = administered_connections(request.actor)
    only_for("an admin of a connection", bool(connections))
    accounts = []
    for connection in connections:
        rows = []
        failure = ""
        if connection.admin_key:
            try:
                rows = read(connection, actor=request.actor)
            except SentenceError as error:
                failure = error.sentence
        accounts.append(
            {"connection": connection, "error": failure, **shown(connection, rows)}
        )
    return answer(request, template, {"accounts": accounts}, failed=failed)


def for_admins(view: View) -> View:
    """Decorate a view about an account, whose admins alone may see it. The view gets
    the connection of its URL.
    """

    @wraps(view)
    def answered(request: DeskRequest, connection_id: int, **rest: Any) -> HttpResponse:
        connection = get_visible_connection_or_404(request, connection_id)
        only_for(f"an admin of {connection}", is_admin(request.actor, connection))
        return view(request, connection=connection, **rest)

    return answered


def of_account(
    url: str,
    named: str,
    *,
    read: Callable[..., Any],
    list_page: Callable[..., HttpResponse],
    page: Callable[..., HttpResponse],
) -> Callable[[ChangeView], View]:
    """Return a decorator for views of one object at MultiMail, such as an API key. The
    URL has its id as the argument `named`, and `read` reads it. The view gets the
    connection and the object. If it returns a notice, that is shown at the URL named
    `url`.

    If the object cannot be read, `list_page` shows the error. If the view's change
    fails, the object's `page` shows it.
    """

    def decorate(view: ChangeView) -> View:
        @for_admins
        @wraps(view)
        def answered(
            request: DeskRequest, connection: Connection, **rest: Any
        ) -> HttpResponse:
            try:
                target = read(connection, rest.pop(named), actor=request.actor)
            except SentenceError as error:
                response = list_page(request, failed=error)
                if isinstance(error, ChangeNotOffered):
                    response.status_code = 404
                return response
            try:
                outcome = view(request, connection, target, **rest)
            except SentenceError as error:
                return page(request, connection, target, failed=error)
            if isinstance(outcome, HttpResponse):
                return outcome
            url_arguments = {"connection_id": connection.pk, named: target.id}
            return redirect_with_notice(request, outcome, url, **url_arguments)

        return answered

    return decorate


def new_ticket() -> str:
    """Return a token that makes a form valid for one submission."""
    return secrets.token_urlsafe(12)


def take_ticket(request: DeskRequest) -> None:
    """Use a form's token. Raises SentTwice if it was used before: reloading the answer
    must not make a second key.
    """
    ticket = request.POST.get("ticket", "")
    name = f"ticket:{request.actor.id}:{ticket}"
    if not 8 <= len(ticket) <= 40 or not cache.add(name, 1, _DAY):
        raise SentTwice(
            "This form was sent before, and its key or secret was shown then, once. Check the list. To make another "
            "one, send the form again."
        )
