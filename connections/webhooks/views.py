"""The pages of webhooks: the list, registering one, and one with its deliveries, test, secret and deletion."""

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
from connections.pages import (
    CHANGE_ERRORS,
    administered_connections,
    answer,
    get_visible_connection_or_404,
    is_admin,
    new_ticket,
    take_ticket,
)
from connections.webhooks.commands import (
    Webhook,
    delete_webhook,
    read_deliveries,
    read_webhook,
    read_webhooks,
    register_webhook,
    replay,
    rotate_webhook,
    send_test,
)
from connections.webhooks.events import GROUPS, OWN_GROUPS, sample_bodies
from connections.webhooks.forms import OVERLAPS, DeleteWebhookForm, OverlapForm, WebhookForm
from mirror.errors import DeskError
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
    hooks: list[tuple[Webhook, str]]
    problem: str = ""


@login_required
@require_safe
def webhooks(request: DeskRequest) -> HttpResponse:
    """List the webhooks of every account that the actor is an admin of, as MultiMail has them now."""
    return _list_page(request)


def _list_page(request: DeskRequest, *, failed: DeskError | None = None) -> HttpResponse:
    accounts = administered_connections(request.actor)
    if not accounts:
        return render(request, "connections/webhooks.html", {"refused": True}, status=403)
    return answer(
        request, "connections/webhooks.html", {"accounts": [_account(request, one) for one in accounts]}, failed=failed
    )


def _account(request: DeskRequest, connection: Connection) -> Account:
    if not connection.admin_key:
        return Account(connection, [])
    try:
        found = read_webhooks(connection, actor=request.actor)
    except CHANGE_ERRORS as error:
        return Account(connection, [], problem=error.sentence)
    named = dict(connection.mailboxes.values_list("upstream_id", "address"))
    return Account(connection, [(one, named.get(one.mailbox_id) or one.mailbox_id) for one in found])


def _refused_page(request: DeskRequest, connection: Connection) -> HttpResponse:
    """Say that only admins of an account see its webhooks."""
    return render(request, "connections/webhooks.html", {"refused": True, "connection": connection}, status=403)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def add_webhook(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show the form for a webhook; register it, and show its secret this one time."""
    connection = get_visible_connection_or_404(request, connection_id)
    if not is_admin(request.actor, connection):
        return _refused_page(request, connection)
    if request.method != "POST":
        return _add_page(request, connection)
    form = WebhookForm(request.POST, mailboxes=connection.mailboxes.there())
    if not form.is_valid():
        return _add_page(request, connection, form=form)
    if not take_ticket(request):
        return _add_page(request, connection, status=409, problem=SENT_TWICE)
    code = form.cleaned_data["approval_code"]
    try:
        created = register_webhook(connection=connection, actor=request.actor, wanted=form.wanted(), code=code)
    except CHANGE_ERRORS as error:
        return _add_page(request, connection, failed=error)
    return render(request, "connections/webhook_made.html", {"connection": connection, "made": created, "is_new": True})


def _add_page(
    request: DeskRequest,
    connection: Connection,
    *,
    form: SentenceForm | None = None,
    failed: DeskError | None = None,
    status: int = 200,
    problem: str = "",
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
        "problem": problem,
    }
    return answer(request, "connections/webhook_add.html", context, form=form, failed=failed, status=status)


@login_required
@require_safe
def webhook_bodies(request: DeskRequest, connection_id: int) -> HttpResponse:
    """Show sample bodies of the ticked events beside the form; they hold nobody's data."""
    connection = get_visible_connection_or_404(request, connection_id)
    if not is_admin(request.actor, connection):
        return _refused_page(request, connection)
    return render(request, "connections/_webhook_bodies.html", {"bodies": sample_bodies(request.GET.getlist("events"))})


@login_required
@require_safe
def webhook(request: DeskRequest, connection_id: int, subscription_id: str) -> HttpResponse:
    """Show one webhook with the log of its deliveries."""
    connection, found, refusal = _find(request, connection_id, subscription_id)
    return refusal or _webhook_page(request, connection, found)


@login_required
@require_POST
@reauthenticated
def test(request: DeskRequest, connection_id: int, subscription_id: str) -> HttpResponse:
    """Have one signed event sent that is about no message."""
    connection, found, refusal = _find(request, connection_id, subscription_id)
    if refusal:
        return refusal
    try:
        send_test(connection=connection, webhook=found, actor=request.actor)
    except CHANGE_ERRORS as error:
        return _webhook_page(request, connection, found, failed=error)
    messages.info(request, "A test is on its way. How it goes stands first in the log in a moment.", extra_tags="desk")
    return redirect("webhook", connection_id=connection.pk, subscription_id=found.id)


@login_required
@require_POST
@reauthenticated
def rotate(request: DeskRequest, connection_id: int, subscription_id: str) -> HttpResponse:
    """Have another secret made, and show it this one time."""
    connection, found, refusal = _find(request, connection_id, subscription_id)
    if refusal:
        return refusal
    form = OverlapForm(request.POST)
    if not form.is_valid():
        return _webhook_page(request, connection, found, form=form)
    if not take_ticket(request):
        return _webhook_page(request, connection, found, status=409, problem=SENT_TWICE)
    overlap = form.cleaned_data["overlap"]
    try:
        rotated = rotate_webhook(connection=connection, webhook=found, actor=request.actor, overlap_s=overlap)
    except CHANGE_ERRORS as error:
        return _webhook_page(request, connection, found, failed=error)
    context = {"connection": connection, "made": rotated, "overlap": dict(OVERLAPS)[overlap] if overlap else ""}
    return render(request, "connections/webhook_made.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthenticated
def delete(request: DeskRequest, connection_id: int, subscription_id: str) -> HttpResponse:
    """Say who gets no events any more, and delete the webhook."""
    connection, found, refusal = _find(request, connection_id, subscription_id)
    if refusal:
        return refusal
    template, context = "connections/webhook_delete.html", {"connection": connection, "hook": found}
    if request.method != "POST":
        return render(request, template, context)
    form = DeleteWebhookForm(request.POST, is_ours=found.is_ours)
    if not form.is_valid():
        return answer(request, template, context, form=form)
    try:
        delete_webhook(connection=connection, webhook=found, actor=request.actor)
    except CHANGE_ERRORS as error:
        return answer(request, template, context, failed=error)
    messages.info(request, "The webhook is deleted. Nothing goes there any more.", extra_tags="desk")
    return redirect("webhooks")


@login_required
@require_POST
@reauthenticated
def replay_delivery(request: DeskRequest, connection_id: int, subscription_id: str, delivery_id: str) -> HttpResponse:
    """Have one finished delivery sent again."""
    connection, found, refusal = _find(request, connection_id, subscription_id)
    if refusal:
        return refusal
    try:
        delivery = replay(connection=connection, delivery_id=delivery_id, actor=request.actor)
    except CHANGE_ERRORS as error:
        return _webhook_page(request, connection, found, failed=error)
    notice = f"{delivery.event or 'The event'} goes out again, with the same bytes: who had it takes it for a repeat."
    messages.info(request, notice, extra_tags="desk")
    return redirect("webhook", connection_id=connection.pk, subscription_id=found.id)


def _find(
    request: DeskRequest, connection_id: int, subscription_id: str
) -> tuple[Connection, Any, HttpResponse | None]:
    """Return the webhook as MultiMail has it, or the answer that says why it cannot be shown."""
    connection = get_visible_connection_or_404(request, connection_id)
    if not is_admin(request.actor, connection):
        return connection, None, _refused_page(request, connection)
    try:
        return connection, read_webhook(connection, subscription_id, actor=request.actor), None
    except CHANGE_ERRORS as error:
        page = _list_page(request, failed=error)
        if isinstance(error, ChangeNotOffered):
            page.status_code = 404
        return connection, None, page


def _webhook_page(
    request: DeskRequest,
    connection: Connection,
    found: Webhook,
    *,
    form: SentenceForm | None = None,
    failed: DeskError | None = None,
    status: int = 200,
    problem: str = "",
) -> HttpResponse:
    cursor = request.GET.get("before", "")[:200]
    try:
        deliveries, following = read_deliveries(connection, actor=request.actor, webhook=found, cursor=cursor)
        log_problem = ""
    except CHANGE_ERRORS as error:
        deliveries, following, log_problem = [], "", error.sentence
    context = {
        "connection": connection,
        "hook": found,
        "mailbox": connection.mailboxes.known_as(found.mailbox_id) if found.mailbox_id else None,
        "sent": deliveries,
        "following": following,
        "is_first_page": not cursor,
        "log_problem": log_problem,
        "overlaps": OVERLAPS,
        "ticket": new_ticket(),
        "problem": problem,
    }
    return answer(request, "connections/webhook.html", context, form=form, failed=failed, status=status)
