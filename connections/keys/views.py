"""The API keys of the accounts: what each may do and whose it is, and making one, which is shown once."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from common.pages import DeskRequest
from connections.keys.commands import SCOPES, ApiKey, create_key, read_keys
from connections.keys.forms import KeyForm, OwnerForm
from connections.page_base import (
    CHANGE_ERRORS,
    accounts_of,
    connection_seen,
    is_admin,
    new_ticket,
    take_ticket,
    told_by,
)
from mirror.models import Connection
from people.models import Person
from people.sign_in.reauthentication import reauthenticated

SENT_TWICE = (
    "This form was sent before, and what came of it was shown then: a key is shown once. Look at the list. To make "
    "another one, send it again from here."
)


@dataclass(frozen=True)
class Account:
    """One connection with its keys; `problem` says why they are not known. A key comes with its mailboxes by name."""

    connection: Connection
    keys: list[tuple[ApiKey, list[str]]]
    revoked: list[ApiKey]
    problem: str = ""


@login_required
@require_safe
def api_keys(request: DeskRequest) -> HttpResponse:
    """List the keys of every account that the actor is an admin of, as MultiMail has them now."""
    return key_list(request)


def key_list(request: DeskRequest, *, status: int = 200, **told: Any) -> HttpResponse:
    """Return the list, with what went wrong on the way to one of its keys."""
    accounts = accounts_of(request.actor)
    if not accounts:
        return render(request, "approvals/api_keys.html", {"refused": True}, status=403)
    context = {"accounts": [_account(request, one) for one in accounts], **told}
    return render(request, "approvals/api_keys.html", context, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def add_key(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show the form for a key; make it, and show its text this one time."""
    connection = connection_seen(request, connection_id)
    if not is_admin(request.actor, connection):
        return key_refused(request, connection)
    if request.method != "POST":
        return _form(request, connection)
    form = KeyForm(request.POST, mailboxes=connection.mailboxes.there())
    owner = OwnerForm(request.POST)
    if not form.is_valid() or not owner.is_valid():
        return _form(request, connection, wrong={**form.sentences(), **owner.sentences()}, status=422)
    if not take_ticket(request):
        return _form(request, connection, status=409, problem=SENT_TWICE)
    try:
        made = create_key(
            connection=connection,
            actor=request.actor,
            wanted=form.wanted(),
            owner=owner.cleaned_data["owner"],
            code=form.cleaned_data["approval_code"],
        )
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _form(request, connection, status=status, **told)
    context = {"connection": connection, "made": made, "owner": owner.cleaned_data["owner"], "scopes": SCOPES}
    return render(request, "approvals/api_key_made.html", context)


def key_refused(request: DeskRequest, connection: Connection) -> HttpResponse:
    """Say that the keys of an account are its admins' business."""
    return render(request, "approvals/api_keys.html", {"refused": True, "connection": connection}, status=403)


def people_to_own() -> list[Person]:
    """Return everybody whose program a key can be."""
    return list(Person.objects.filter(is_active=True).order_by("name", "email"))


def _form(
    request: DeskRequest, connection: Connection, *, status: int = 200, wrong: dict[str, str] | None = None, **told: Any
) -> HttpResponse:
    context = {
        "connection": connection,
        "scopes": SCOPES,
        "boxes": connection.mailboxes.there(),
        "people": people_to_own(),
        "typed": request.POST,
        "ticked": request.POST.getlist("scopes"),
        "ticked_boxes": request.POST.getlist("mailboxes"),
        "ticket": new_ticket(),
        "wrong": wrong or {},
        **told,
    }
    return render(request, "approvals/api_key_add.html", context, status=status)


def _account(request: DeskRequest, connection: Connection) -> Account:
    if not connection.admin_key:
        return Account(connection, [], [])
    try:
        found = read_keys(connection, actor=request.actor)
    except CHANGE_ERRORS as error:
        return Account(connection, [], [], problem=error.sentence)
    named = dict(connection.mailboxes.values_list("upstream_id", "address"))
    working = [(key, [named.get(one) or one for one in key.mailboxes]) for key in found if key.is_active]
    return Account(connection, working, [key for key in found if not key.is_active])
