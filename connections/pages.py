"""Base classes for the pages of this package: lists of what accounts have, and views
about one account or one object of it. Looks up a connection or mailbox that the actor
may see, and refuses a form that is sent twice.
"""

import secrets
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.cache import cache
from django.http.response import HttpResponseBase
from django.urls import reverse

from common.actors import Actor
from common.errors import SentenceError
from common.pages import (
    CODE_INPUT,
    DeskRequest,
    DrawnForm,
    first_or_404,
    only_for,
)
from connections.changes import ChangeNotOffered, is_admin
from mirror.errors import DeskError
from mirror.models import Connection, Mailbox
from people.sign_in.resource_views import PageView

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


class AccountsView(PageView):
    """A page that lists objects at MultiMail, such as API keys, of every account of
    which the actor is an admin. `read` asks MultiMail for them now.
    """

    read: Callable[..., list[Any]]

    def shown(self, connection: Connection, found: list[Any]) -> dict[str, Any]:
        """Return what the template needs about an account and its objects."""
        raise NotImplementedError

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        connections = administered_connections(self.actor)
        only_for("an admin of a connection", bool(connections))
        accounts = []
        for connection in connections:
            found = []
            failure = ""
            if connection.admin_key:
                try:
                    found = self.read(connection, actor=self.actor)
                except SentenceError as error:
                    failure = error.sentence
            account = {"connection": connection, "error": failure}
            accounts.append(account | self.shown(connection, found))
        return super().get_context_data(accounts=accounts, **kwargs)


class ConnectionView(PageView):
    """A view about one connection."""

    def prepare(self) -> None:
        connection_id = self.kwargs["connection_id"]
        connection = get_visible_connection_or_404(self.request, connection_id)
        self.connection = connection
        self.command_arguments = {"connection": connection, "actor": self.actor}
        self.extra_context["connection"] = connection


class AccountView(ConnectionView):
    """A view about an account, whose admins alone may open it."""

    def prepare(self) -> None:
        super().prepare()
        is_one = is_admin(self.actor, self.connection)
        only_for(f"an admin of {self.connection}", is_one)
        # For forms whose answer shows a key or secret: each is valid for one submission.
        self.extra_context["ticket"] = secrets.token_urlsafe(12)


class ObjectView(AccountView):
    """A view about one object at MultiMail, such as an API key, which `read` reads by
    the id in the URL. If it cannot be read, its list shows the error.
    """

    object: Any
    read: Callable[..., Any]
    # The name of its page and of the id in the URL, and what templates call it.
    url_name: str
    pk_url_kwarg: str
    context_object_name: str
    list_view: type[AccountsView]

    def handle(self) -> HttpResponseBase:
        try:
            upstream_id = self.kwargs[self.pk_url_kwarg]
            self.object = self.read(self.connection, upstream_id, actor=self.actor)
        except SentenceError as error:
            page = self.list_view()
            page.setup(self.request)
            response = page.show_error(error)
            if isinstance(error, ChangeNotOffered):
                response.status_code = 404
            return response
        self.extra_context[self.context_object_name] = self.object
        self.success_url = reverse(
            self.url_name, args=[self.connection.pk, self.object.id]
        )
        return super().handle()


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
