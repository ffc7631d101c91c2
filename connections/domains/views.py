"""The domains of the accounts: their DNS records and what DNS has, and adding, checking and removing one."""

from collections.abc import Callable

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from common.forms import SentenceForm
from common.pages import DeskRequest, redirect_with_notice
from connections.domains import commands
from connections.pages import (
    CHANGE_ERRORS,
    accounts_page,
    cleaned,
    get_visible_connection_or_404,
    is_admin,
    refused,
)
from mirror.errors import DeskError
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


@login_required
@require_safe
def domains(request: DeskRequest) -> HttpResponse:
    """List the domains of every account that the actor is an admin of, with the records of each."""
    return _list_page(request)


@login_required
@require_POST
@reauthenticated
def add(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Add a domain."""

    def do(connection: Connection) -> str:
        name = cleaned(DomainForm(request.POST))["domain"]
        made = commands.add_domain(connection=connection, actor=request.actor, name=name)
        return f"{made.name} was added. Publish its records in DNS, then check them."

    return _change(request, connection_id, do)


@login_required
@require_POST
def verify(request: DeskRequest, connection_id: int, domain_id: str) -> HttpResponse:
    """Check the records of a domain in DNS."""
    return _change(
        request,
        connection_id,
        lambda one: commands.verify_domain(connection=one, actor=request.actor, domain_id=domain_id),
    )


@login_required
@require_POST
@reauthenticated
def rotate(request: DeskRequest, connection_id: int, domain_id: str) -> HttpResponse:
    """Replace the DKIM key."""

    def do(connection: Connection) -> str:
        commands.rotate_dkim(connection=connection, actor=request.actor, domain_id=domain_id)
        return "A new DKIM key was created. Publish its record in DNS, then check it. The old key signs until then."

    return _change(request, connection_id, do)


@login_required
@require_POST
@reauthenticated
def delete(request: DeskRequest, connection_id: int, domain_id: str) -> HttpResponse:
    """Remove a domain."""

    def do(connection: Connection) -> str:
        name = commands.delete_domain(connection=connection, actor=request.actor, domain_id=domain_id)
        return f"{name} was removed."

    return _change(request, connection_id, do)


def _change(request: DeskRequest, connection_id: int, do: Callable[[Connection], str]) -> HttpResponse:
    connection = get_visible_connection_or_404(request, connection_id)
    if not is_admin(request.actor, connection):
        return refused(request, _LIST, connection)
    try:
        return redirect_with_notice(request, do(connection), "domains")
    except CHANGE_ERRORS as error:
        return _list_page(request, typed_for=connection_id, failed=error)


def _list_page(request: DeskRequest, *, typed_for: int | None = None, failed: DeskError | None = None) -> HttpResponse:
    return accounts_page(
        request,
        _LIST,
        commands.read_domains,
        lambda connection, found: {"domains": found},
        failed=failed,
        typed=request.POST,
        typed_for=typed_for,
    )
