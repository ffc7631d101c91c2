"""The webhooks of the accounts: who hears what, and registering one."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from common.pages import DeskRequest
from connections.page_base import (
    CHANGE_ERRORS,
    accounts_of,
    connection_seen,
    is_admin,
    new_ticket,
    take_ticket,
    told_by,
)
from connections.webhooks.commands import Hook, read_hooks, register_hook
from connections.webhooks.events import GROUPS, OWN_GROUPS, sample_bodies
from connections.webhooks.forms import HookForm
from mirror.models import Connection
from people.sign_in.reauthentication import reauthenticated

SENT_TWICE = (
    "This form was sent before, and what came of it was shown then: a secret is shown once. Look at the list. To "
    "register it once more, send it again from here."
)


@dataclass(frozen=True)
class Account:
    """One connection with its webhooks and the addresses of their mailboxes."""

    connection: Connection
    hooks: list[tuple[Hook, str]]
    problem: str = ""


@login_required
@require_safe
def hooks(request: DeskRequest) -> HttpResponse:
    """List the webhooks of every account that the actor is an admin of, as MultiMail has them now."""
    return hook_list(request)


def hook_list(request: DeskRequest, *, status: int = 200, **told: Any) -> HttpResponse:
    """Return the list, with what went wrong on the way to one of them."""
    accounts = accounts_of(request.actor)
    if not accounts:
        return render(request, "approvals/hooks.html", {"refused": True}, status=403)
    context = {"accounts": [_account(request, one) for one in accounts], **told}
    return render(request, "approvals/hooks.html", context, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def add_hook(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show the form for a webhook; register it, and show its secret this one time."""
    connection = connection_seen(request, connection_id)
    if not is_admin(request.actor, connection):
        return hook_refused(request, connection)
    if request.method != "POST":
        return _form(request, connection)
    form = HookForm(request.POST, mailboxes=connection.mailboxes.there())
    if not form.is_valid():
        return _form(request, connection, wrong=form.sentences(), status=422)
    if not take_ticket(request):
        return _form(request, connection, status=409, problem=SENT_TWICE)
    code = form.cleaned_data["approval_code"]
    try:
        made = register_hook(connection=connection, actor=request.actor, wanted=form.wanted(), code=code)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _form(request, connection, status=status, **told)
    return render(request, "approvals/hook_made.html", {"connection": connection, "made": made, "is_new": True})


@login_required
@require_safe
def hook_bodies(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show the bodies of the events that are ticked, beside the form; they are samples, and tell nothing of anybody."""
    connection = connection_seen(request, connection_id)
    if not is_admin(request.actor, connection):
        return hook_refused(request, connection)
    return render(request, "approvals/_hook_bodies.html", {"bodies": sample_bodies(request.GET.getlist("events"))})


def hook_refused(request: DeskRequest, connection: Connection) -> HttpResponse:
    """Say that the webhooks of an account are its admins' business."""
    return render(request, "approvals/hooks.html", {"refused": True, "connection": connection}, status=403)


def _form(
    request: DeskRequest, connection: Connection, *, status: int = 200, wrong: dict[str, str] | None = None, **told: Any
) -> HttpResponse:
    ticked = (request.POST or request.GET).getlist("events")
    context = {
        "connection": connection,
        "groups": GROUPS | (OWN_GROUPS if connection.is_our_gateway else {}),
        "boxes": connection.mailboxes.there(),
        "typed": request.POST,
        "ticked": ticked,
        "bodies": sample_bodies(ticked),
        "ticket": new_ticket(),
        "wrong": wrong or {},
        **told,
    }
    return render(request, "approvals/hook_add.html", context, status=status)


def _account(request: DeskRequest, connection: Connection) -> Account:
    if not connection.admin_key:
        return Account(connection, [])
    try:
        found = read_hooks(connection, actor=request.actor)
    except CHANGE_ERRORS as error:
        return Account(connection, [], problem=error.sentence)
    named = dict(connection.mailboxes.values_list("upstream_id", "address"))
    return Account(connection, [(hook, named.get(hook.mailbox_id) or hook.mailbox_id) for hook in found])
