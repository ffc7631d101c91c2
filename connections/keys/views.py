"""The pages of API keys: the list, making one (its text is shown once), and limiting and revoking one."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.forms import SentenceForm
from common.pages import DeskRequest
from connections.errors import ChangeNotOffered
from connections.keys.commands import (
    SCOPES,
    ApiKey,
    change_key,
    create_key,
    read_key,
    read_keys,
    revoke_key,
    set_owner,
)
from connections.keys.forms import KeyForm, OwnerForm
from connections.pages import (
    CHANGE_ERRORS,
    administered_connections,
    answer,
    get_visible_connection_or_404,
    is_admin,
    new_ticket,
    take_ticket,
)
from mirror.errors import DeskError
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
    return _list_page(request)


def _list_page(request: DeskRequest, *, failed: DeskError | None = None) -> HttpResponse:
    accounts = administered_connections(request.actor)
    if not accounts:
        return render(request, "connections/api_keys.html", {"refused": True}, status=403)
    context = {"accounts": [_account(request, one) for one in accounts]}
    return answer(request, "connections/api_keys.html", context, failed=failed)


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


def _refused_page(request: DeskRequest, connection: Connection) -> HttpResponse:
    """Say that only admins of an account see its keys."""
    return render(request, "connections/api_keys.html", {"refused": True, "connection": connection}, status=403)


def _possible_owners() -> list[Person]:
    return list(Person.objects.filter(is_active=True).order_by("name", "email"))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def add_key(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show the form for a key; make it, and show its text this one time."""
    connection = get_visible_connection_or_404(request, connection_id)
    if not is_admin(request.actor, connection):
        return _refused_page(request, connection)
    if request.method != "POST":
        return _add_page(request, connection)
    form = KeyForm(request.POST, mailboxes=connection.mailboxes.there())
    owner_form = OwnerForm(request.POST)
    if not form.is_valid() or not owner_form.is_valid():
        return _add_page(request, connection, status=422, wrong=form.errors_by_field() | owner_form.errors_by_field())
    if not take_ticket(request):
        return _add_page(request, connection, status=409, problem=SENT_TWICE)
    owner = owner_form.cleaned_data["owner"]
    code = form.cleaned_data["approval_code"]
    try:
        created = create_key(connection=connection, actor=request.actor, wanted=form.wanted(), owner=owner, code=code)
    except CHANGE_ERRORS as error:
        return _add_page(request, connection, failed=error)
    context = {"connection": connection, "made": created, "owner": owner, "scopes": SCOPES}
    return render(request, "connections/api_key_made.html", context)


def _add_page(
    request: DeskRequest,
    connection: Connection,
    *,
    failed: DeskError | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    context = {
        "connection": connection,
        "scopes": SCOPES,
        "boxes": connection.mailboxes.there(),
        "people": _possible_owners(),
        "typed": request.POST,
        "ticked": request.POST.getlist("scopes"),
        "ticked_boxes": request.POST.getlist("mailboxes"),
        "ticket": new_ticket(),
        **more,
    }
    return answer(request, "connections/api_key_add.html", context, failed=failed, status=status)


@login_required
@require_safe
def api_key(request: DeskRequest, connection_id: int, key_id: str) -> HttpResponse:
    """Show one key, with what can be changed about it."""
    connection, key, refusal = _find(request, connection_id, key_id)
    return refusal or _key_page(request, connection, key)


@login_required
@require_POST
@reauthenticated
def change(request: DeskRequest, connection_id: int, key_id: str) -> HttpResponse:
    """Change name, scopes or mailboxes of a key."""
    connection, key, refusal = _find(request, connection_id, key_id)
    if refusal:
        return refusal
    form = KeyForm(request.POST, mailboxes=connection.mailboxes.there())
    if not form.is_valid():
        return _key_page(request, connection, key, form=form)
    try:
        changes, code = form.changes(key), form.cleaned_data["approval_code"]
        change_key(connection=connection, key=key, actor=request.actor, changes=changes, code=code)
    except CHANGE_ERRORS as error:
        return _key_page(request, connection, key, failed=error)
    messages.info(request, f"The key {form.cleaned_data['name']} is changed.", extra_tags="desk")
    return redirect("api-key", connection_id=connection.pk, key_id=key.id)


@login_required
@require_POST
@reauthenticated
def set_key_owner(request: DeskRequest, connection_id: int, key_id: str) -> HttpResponse:
    """Set whose program uses a key."""
    connection, key, refusal = _find(request, connection_id, key_id)
    if refusal:
        return refusal
    form = OwnerForm(request.POST)
    if not form.is_valid():
        return _key_page(request, connection, key, form=form)
    owner = form.cleaned_data["owner"]
    set_owner(connection=connection, key_id=key.id, name=key.name, person=owner, actor=request.actor)
    notice = (
        f"{key.name} is {owner}'s: they may not approve what it sends." if owner else f"{key.name} is nobody's now."
    )
    messages.info(request, notice, extra_tags="desk")
    return redirect("api-key", connection_id=connection.pk, key_id=key.id)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def revoke(request: DeskRequest, connection_id: int, key_id: str) -> HttpResponse:
    """Say what stops with a key, and revoke it."""
    connection, key, refusal = _find(request, connection_id, key_id)
    if refusal:
        return refusal
    template, context = "connections/api_key_revoke.html", {"connection": connection, "key": key}
    if request.method != "POST":
        return render(request, template, context)
    code = request.POST.get("approval_code", "").strip()[:40]
    try:
        revoke_key(connection=connection, key=key, actor=request.actor, code=code)
    except CHANGE_ERRORS as error:
        return answer(request, template, context, failed=error)
    messages.info(request, f"The key {key.name} is revoked. MultiMail refuses it from now on.", extra_tags="desk")
    return redirect("api-keys")


def _find(request: DeskRequest, connection_id: int, key_id: str) -> tuple[Connection, Any, HttpResponse | None]:
    """Return the key as MultiMail has it, or the answer that says why it cannot be shown."""
    connection = get_visible_connection_or_404(request, connection_id)
    if not is_admin(request.actor, connection):
        return connection, None, _refused_page(request, connection)
    try:
        return connection, read_key(connection, key_id, actor=request.actor), None
    except CHANGE_ERRORS as error:
        page = _list_page(request, failed=error)
        if isinstance(error, ChangeNotOffered):
            page.status_code = 404
        return connection, None, page


def _key_page(
    request: DeskRequest,
    connection: Connection,
    key: ApiKey,
    *,
    form: SentenceForm | None = None,
    failed: DeskError | None = None,
) -> HttpResponse:
    is_typed = "name" in request.POST
    context = {
        "connection": connection,
        "key": key,
        "scopes": SCOPES,
        "boxes": connection.mailboxes.there(),
        "people": _possible_owners(),
        "name": request.POST.get("name", "") if is_typed else key.name,
        "ticked": request.POST.getlist("scopes") if is_typed else key.scopes,
        "ticked_boxes": request.POST.getlist("mailboxes") if is_typed else key.mailboxes,
    }
    return answer(request, "connections/api_key.html", context, form=form, failed=failed)
