"""One API key: limiting it, saying whose program it is, revoking it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.pages import DeskRequest
from connections.errors import ChangeNotOffered
from connections.keys.commands import SCOPES, ApiKey, change_key, read_key, revoke_key, set_owner
from connections.keys.forms import KeyForm, OwnerForm
from connections.keys.views import key_list, key_refused, people_to_own
from connections.page_base import CHANGE_ERRORS, connection_seen, is_admin, told_by
from mirror.models import Connection
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_safe
def api_key(request: DeskRequest, connection_id: int, key_id: str) -> HttpResponse:
    """Show one key, with what can be changed about it."""
    connection, key, refusal = _found(request, connection_id, key_id)
    return refusal or _page(request, connection, key)


@login_required
@require_POST
@reauthenticated
def change(request: DeskRequest, connection_id: int, key_id: str) -> HttpResponse:
    """Change name, scopes or mailboxes of a key."""
    connection, key, refusal = _found(request, connection_id, key_id)
    if refusal:
        return refusal
    form = KeyForm(request.POST, mailboxes=connection.mailboxes.there())
    if not form.is_valid():
        return _page(request, connection, key, status=422, wrong=form.sentences())
    try:
        changes, code = form.changes(key), form.cleaned_data["approval_code"]
        change_key(connection=connection, key=key, actor=request.actor, changes=changes, code=code)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _page(request, connection, key, status=status, **told)
    messages.info(request, f"The key {form.cleaned_data['name']} is changed.", extra_tags="desk")
    return redirect("api-key", connection_id=connection.pk, key_id=key.id)


@login_required
@require_POST
@reauthenticated
def set_key_owner(request: DeskRequest, connection_id: int, key_id: str) -> HttpResponse:
    """Say whose program a key is."""
    connection, key, refusal = _found(request, connection_id, key_id)
    if refusal:
        return refusal
    form = OwnerForm(request.POST)
    if not form.is_valid():
        return _page(request, connection, key, status=422, wrong=form.sentences())
    owner = form.cleaned_data["owner"]
    set_owner(connection=connection, key_id=key.id, name=key.name, person=owner, actor=request.actor)
    said = f"{key.name} is {owner}'s: they may not approve what it sends." if owner else f"{key.name} is nobody's now."
    messages.info(request, said, extra_tags="desk")
    return redirect("api-key", connection_id=connection.pk, key_id=key.id)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def revoke(request: DeskRequest, connection_id: int, key_id: str) -> HttpResponse:
    """Say what stops with a key, and revoke it."""
    connection, key, refusal = _found(request, connection_id, key_id)
    if refusal:
        return refusal
    if request.method != "POST":
        return render(request, "approvals/api_key_revoke.html", {"connection": connection, "key": key})
    code = request.POST.get("approval_code", "").strip()[:40]
    try:
        revoke_key(connection=connection, key=key, actor=request.actor, code=code)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        context = {"connection": connection, "key": key, **told}
        return render(request, "approvals/api_key_revoke.html", context, status=status)
    messages.info(request, f"The key {key.name} is revoked. MultiMail refuses it from now on.", extra_tags="desk")
    return redirect("api-keys")


def _found(request: DeskRequest, connection_id: int, key_id: str) -> tuple[Connection, Any, HttpResponse | None]:
    """Return the key as MultiMail has it, or the answer that says why it cannot be shown."""
    connection = connection_seen(request, connection_id)
    if not is_admin(request.actor, connection):
        return connection, None, key_refused(request, connection)
    try:
        return connection, read_key(connection, key_id, actor=request.actor), None
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        is_gone = isinstance(error, ChangeNotOffered)
        return connection, None, key_list(request, status=404 if is_gone else status, **told)


def _page(
    request: DeskRequest, connection: Connection, key: ApiKey, *, status: int = 200,
    wrong: dict[str, str] | None = None, **told: Any,
) -> HttpResponse:  # fmt: skip
    is_typed = "name" in request.POST
    context = {
        "connection": connection,
        "key": key,
        "scopes": SCOPES,
        "boxes": connection.mailboxes.there(),
        "people": people_to_own(),
        "name": request.POST.get("name", "") if is_typed else key.name,
        "ticked": request.POST.getlist("scopes") if is_typed else key.scopes,
        "ticked_boxes": request.POST.getlist("mailboxes") if is_typed else key.mailboxes,
        "wrong": wrong or {},
        **told,
    }
    return render(request, "approvals/api_key.html", context, status=status)
