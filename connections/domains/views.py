"""The domains of the accounts: what to put into DNS, what DNS has of it, and adding one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from common.pages import DeskRequest
from connections.domains import commands as administering
from connections.domains.commands import Domain
from connections.domains.forms import DomainForm
from connections.page_base import CHANGE_ERRORS, accounts_of, connection_seen, is_admin, told_by
from mirror.models import Connection
from people.sign_in.reauthentication import reauthenticated


@dataclass(frozen=True)
class Account:
    """One connection with its domains."""

    connection: Connection
    domains: list[Domain]
    problem: str = ""


@login_required
@require_safe
def domains(request: DeskRequest) -> HttpResponse:
    """List the domains of every account that the actor is an admin of, with the records of each."""
    return _list(request)


@login_required
@require_POST
@reauthenticated
def add(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Add a domain."""
    form = DomainForm(request.POST)

    def do(connection: Connection) -> str:
        made = administering.add_domain(connection=connection, actor=request.actor, name=form.cleaned_data["domain"])
        return f"{made.name} was added. Publish its records in DNS, then check them."

    return _change(request, connection_id, do, form)


@login_required
@require_POST
def verify(request: DeskRequest, connection_id: int, domain_id: str) -> HttpResponse:
    """Check the records of a domain in DNS."""
    return _change(
        request,
        connection_id,
        lambda one: administering.verify_domain(connection=one, actor=request.actor, domain_id=domain_id),
    )


@login_required
@require_POST
@reauthenticated
def rotate(request: DeskRequest, connection_id: int, domain_id: str) -> HttpResponse:
    """Replace the DKIM key."""

    def do(connection: Connection) -> str:
        administering.rotate_dkim(connection=connection, actor=request.actor, domain_id=domain_id)
        return "A new DKIM key was created. Publish its record in DNS, then check it. The old key signs until then."

    return _change(request, connection_id, do)


@login_required
@require_POST
@reauthenticated
def delete(request: DeskRequest, connection_id: int, domain_id: str) -> HttpResponse:
    """Remove a domain."""

    def do(connection: Connection) -> str:
        name = administering.delete_domain(connection=connection, actor=request.actor, domain_id=domain_id)
        return f"{name} was removed."

    return _change(request, connection_id, do)


def _change(
    request: DeskRequest, connection_id: int, do: Callable[[Connection], str], form: DomainForm | None = None
) -> HttpResponse:
    connection = connection_seen(request, connection_id)
    if not is_admin(request.actor, connection):
        return render(request, "approvals/domains.html", {"refused": True, "connection": connection}, status=403)
    if form is not None and not form.is_valid():
        return _list(request, status=422, typed_for=connection_id, wrong=form.sentences())
    try:
        said = do(connection)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _list(request, status=status, typed_for=connection_id, **told)
    messages.info(request, said, extra_tags="desk")
    return redirect("domains")


def _list(request: DeskRequest, *, status: int = 200, **told: Any) -> HttpResponse:
    accounts = accounts_of(request.actor)
    if not accounts:
        return render(request, "approvals/domains.html", {"refused": True}, status=403)
    context = {"accounts": [_account(request, one) for one in accounts], "typed": request.POST, **told}
    return render(request, "approvals/domains.html", context, status=status)


def _account(request: DeskRequest, connection: Connection) -> Account:
    if not connection.admin_key:
        return Account(connection, [])
    try:
        return Account(connection, administering.read_domains(connection, actor=request.actor))
    except CHANGE_ERRORS as error:
        return Account(connection, [], problem=error.sentence)
