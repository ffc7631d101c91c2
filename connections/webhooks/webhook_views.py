"""One webhook: what it was sent and how that went, sending again, testing, another secret, and its end."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from common.pages import DeskRequest
from connections.errors import ChangeNotOffered
from connections.page_base import CHANGE_ERRORS, connection_seen, is_admin, new_ticket, take_ticket, told_by
from connections.webhooks.commands import Hook, delete_hook, read_hook, read_sent, replay, rotate_hook, try_hook
from connections.webhooks.forms import OVERLAPS, EndHookForm, OverlapForm
from connections.webhooks.views import SENT_TWICE, hook_list, hook_refused
from mirror.models import Connection
from people.sign_in.reauthentication import reauthenticated


@login_required
@require_safe
def hook(request: DeskRequest, connection_id: int, hook_id: str) -> HttpResponse:
    """Show one webhook with the log of its deliveries."""
    connection, found, refusal = _found(request, connection_id, hook_id)
    return refusal or _page(request, connection, found)


@login_required
@require_POST
@reauthenticated
def test(request: DeskRequest, connection_id: int, hook_id: str) -> HttpResponse:
    """Have one signed event sent that is about no message."""
    connection, found, refusal = _found(request, connection_id, hook_id)
    if refusal:
        return refusal
    try:
        try_hook(connection=connection, hook=found, actor=request.actor)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _page(request, connection, found, status=status, **told)
    messages.info(request, "A test is on its way. How it goes stands first in the log in a moment.", extra_tags="desk")
    return redirect("hook", connection_id=connection.pk, hook_id=found.id)


@login_required
@require_POST
@reauthenticated
def rotate(request: DeskRequest, connection_id: int, hook_id: str) -> HttpResponse:
    """Have another secret made, and show it this one time."""
    connection, found, refusal = _found(request, connection_id, hook_id)
    if refusal:
        return refusal
    form = OverlapForm(request.POST)
    if not form.is_valid():
        return _page(request, connection, found, status=422, wrong=form.sentences())
    if not take_ticket(request):
        return _page(request, connection, found, status=409, problem=SENT_TWICE)
    overlap = form.cleaned_data["overlap"]
    try:
        made = rotate_hook(connection=connection, hook=found, actor=request.actor, overlap_s=overlap)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _page(request, connection, found, status=status, **told)
    context = {"connection": connection, "made": made, "overlap": dict(OVERLAPS)[overlap] if overlap else ""}
    return render(request, "approvals/hook_made.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def delete(request: DeskRequest, connection_id: int, hook_id: str) -> HttpResponse:
    """Say who hears nothing any more, and end the webhook."""
    connection, found, refusal = _found(request, connection_id, hook_id)
    if refusal:
        return refusal
    context: dict[str, Any] = {"connection": connection, "hook": found}
    if request.method != "POST":
        return render(request, "approvals/hook_delete.html", context)
    form = EndHookForm(request.POST, is_ours=found.is_ours)
    if not form.is_valid():
        return render(request, "approvals/hook_delete.html", context | {"wrong": form.sentences()}, status=422)
    try:
        delete_hook(connection=connection, hook=found, actor=request.actor)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return render(request, "approvals/hook_delete.html", context | told, status=status)
    messages.info(request, "The webhook is deleted. Nothing goes there any more.", extra_tags="desk")
    return redirect("hooks")


@login_required
@require_POST
@reauthenticated
def replay_delivery(request: DeskRequest, connection_id: int, hook_id: str, delivery_id: str) -> HttpResponse:
    """Have one finished delivery sent again."""
    connection, found, refusal = _found(request, connection_id, hook_id)
    if refusal:
        return refusal
    try:
        sent = replay(connection=connection, delivery_id=delivery_id, actor=request.actor)
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        return _page(request, connection, found, status=status, **told)
    said = f"{sent.event or 'The event'} goes out again, with the same bytes: who had it takes it for a repeat."
    messages.info(request, said, extra_tags="desk")
    return redirect("hook", connection_id=connection.pk, hook_id=found.id)


def _found(request: DeskRequest, connection_id: int, hook_id: str) -> tuple[Connection, Any, HttpResponse | None]:
    """Return the webhook as MultiMail has it, or the answer that says why it cannot be shown."""
    connection = connection_seen(request, connection_id)
    if not is_admin(request.actor, connection):
        return connection, None, hook_refused(request, connection)
    try:
        return connection, read_hook(connection, hook_id, actor=request.actor), None
    except CHANGE_ERRORS as error:
        status, told = told_by(error)
        is_gone = isinstance(error, ChangeNotOffered)
        return connection, None, hook_list(request, status=404 if is_gone else status, **told)


def _page(
    request: DeskRequest, connection: Connection, found: Hook, *, status: int = 200,
    wrong: dict[str, str] | None = None, **told: Any,
) -> HttpResponse:  # fmt: skip
    cursor = request.GET.get("before", "")[:200]
    try:
        sent, following = read_sent(connection, actor=request.actor, hook=found, cursor=cursor)
        log_problem = ""
    except CHANGE_ERRORS as error:
        sent, following, log_problem = [], "", error.sentence
    context = {
        "connection": connection,
        "hook": found,
        "mailbox": connection.mailboxes.known_as(found.mailbox_id) if found.mailbox_id else None,
        "sent": sent,
        "following": following,
        "is_first_page": not cursor,
        "log_problem": log_problem,
        "overlaps": OVERLAPS,
        "ticket": new_ticket(),
        "wrong": wrong or {},
        **told,
    }
    return render(request, "approvals/hook.html", context, status=status)
