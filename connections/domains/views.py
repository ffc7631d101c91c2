"""The domains of the accounts: their DNS records and what DNS has, and adding, checking
and removing one.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from common.forms import SentenceForm
from common.pages import DeskRequest, redirect_with_notice
from connections.changes import is_admin
from connections.domains import commands
from connections.pages import (
    CHANGE_ERRORS,
    accounts_page,
    cleaned,
    get_visible_connection_or_404,
    refused,
)
from mirror.models import Connection
from people.sign_in.reauthentication import reauthenticated


class DomainForm(SentenceForm):
    """A domain to add. MultiMail decides whether it is available."""

    domain = forms.CharField(
        max_length=253,
        error_messages={
            "required": "Enter a domain, such as example.com.",
            "max_length": "A domain has at most 253 characters.",
        },
    )


_LIST = "connections/domains.html"


@require_safe
def domains(request: DeskRequest) -> HttpResponse:
    """List the domains of every account that the actor is an admin of, with the records
    of each.
    """
    return _list_page(request)


def _changes(view: Callable[..., str]) -> Callable[..., HttpResponse]:
    """Decorate a view that changes a domain of the account in its URL, and returns the
    notice to show.
    """

    @wraps(view)
    def changed(request: DeskRequest, connection_id: int, **rest: str) -> HttpResponse:
        connection = get_visible_connection_or_404(request, connection_id)
        if not is_admin(request.actor, connection):
            return refused(request, _LIST, connection)
        try:
            notice = view(request, connection, **rest)
        except CHANGE_ERRORS as error:
            return _list_page(request, typed_for=connection_id, failed=error)
        return redirect_with_notice(request, notice, "domains")

    return changed


@require_POST
@reauthenticated
@_changes
def add(request: DeskRequest, connection: Connection) -> str:
    """Add a domain."""
    name = cleaned(DomainForm(request.POST))["domain"]
    made = commands.add_domain(connection=connection, actor=request.actor, name=name)
    return f"{made.name} was added. Publish its records in DNS, then check them."


@require_POST
@_changes
def verify(request: DeskRequest, connection: Connection, domain_id: str) -> str:
    """Check the records of a domain in DNS."""
    return commands.verify_domain(
        connection=connection, actor=request.actor, domain_id=domain_id
    )


@require_POST
@reauthenticated
@_changes
def rotate(request: DeskRequest, connection: Connection, domain_id: str) -> str:
    """Replace the DKIM key."""
    commands.rotate_dkim(
        connection=connection, actor=request.actor, domain_id=domain_id
    )
    return "A new DKIM key was created. Publish its record in DNS, then check it. The old key signs until then."


@require_POST
@reauthenticated
@_changes
def delete(request: DeskRequest, connection: Connection, domain_id: str) -> str:
    """Remove a domain."""
    name = commands.delete_domain(
        connection=connection, actor=request.actor, domain_id=domain_id
    )
    return f"{name} was removed."


def _list_page(request: DeskRequest, **more: Any) -> HttpResponse:
    return accounts_page(
        request,
        _LIST,
        commands.read_domains,
        lambda connection, found: {"domains": found},
        typed=request.POST,
        **more,
    )
