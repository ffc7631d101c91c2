"""The pages of webhooks and their forms: the list, registering a webhook, and the page
of a webhook with its deliveries, from which it is tested, given another secret or
deleted.
"""

from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from common.errors import SentenceError
from common.pages import (
    VERBATIM,
    ChoicesForm,
    DeskRequest,
    DrawnForm,
    cleaned,
    posted,
    redirect_with_notice,
    require_get_or_post,
    same_error,
)
from connections.pages import (
    ApprovalCodeForm,
    accounts_page,
    answer,
    for_admins,
    new_ticket,
    of_account,
    take_ticket,
)
from connections.webhooks.commands import (
    Delivery,
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
from connections.webhooks.events import EVENTS, GROUPS, OWN_GROUPS
from mirror.models import Connection
from people.sign_in.reauthentication import reauthenticated

# How long the old secret may stay valid: seconds, and words. MultiMail allows a week.
OVERLAPS = (
    (0, "not at all (it leaked)"),
    (3600, "for an hour"),
    (86400, "for a day"),
    (604800, "for a week"),
)


class WebhookForm(ApprovalCodeForm, ChoicesForm):
    """A webhook to register."""

    url = forms.CharField(
        label="Address",
        max_length=2000,
        widget=forms.TextInput(
            {**VERBATIM, "inputmode": "url", "placeholder": "https://example.com/hook"}
        ),
        error_messages={
            "required": "Enter where the events go: an address that begins with https://."
        },
    )
    events = forms.MultipleChoiceField(
        choices=[(name, name) for name in EVENTS],
        error_messages={
            "required": "Select at least one event.",
            "invalid_choice": "There is no such event.",
        },
    )
    mailbox = forms.ChoiceField(
        required=False,
        error_messages={
            "invalid_choice": "This mailbox is not in this account, or was deleted."
        },
    )
    # Only our gateway supports it.
    include_sandbox = forms.BooleanField(
        label="Include test messages",
        help_text="Their events contain “sandbox”: true.",
        required=False,
    )
    secret = forms.CharField(
        help_text="MultiMail signs each event with it, so that the receiver can detect forged ones.",
        required=False,
        min_length=8,
        max_length=200,
        error_messages=same_error(
            "A secret has 8 to 200 characters. Empty: MultiMail creates one."
        ),
        widget=forms.PasswordInput(
            {
                "autocomplete": "new-password",
                "placeholder": "empty: MultiMail generates one",
            }
        ),
    )

    def clean_url(self) -> str:
        """Accept a web server's address; MultiMail decides whether it may be called."""
        url = str(self.cleaned_data["url"])
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise forms.ValidationError(
                "This is not the address of a web server. It begins with https://."
            )
        return url

    def wanted(self) -> dict[str, Any]:
        """Return the fields of the request to MultiMail."""
        names = ("url", "events", "secret", "include_sandbox")
        wanted = {name: self.cleaned_data.get(name) for name in names}
        return wanted | {"mailbox_id": self.cleaned_data["mailbox"]}


class OverlapForm(DrawnForm):
    """How long the old secret of a webhook stays valid."""

    overlap = forms.TypedChoiceField(
        label="The old secret stays valid",
        choices=OVERLAPS,
        initial=86400,
        coerce=int,
        error_messages=same_error("Choose how long the old secret stays valid."),
    )


class DeleteOwnForm(DrawnForm):
    """Confirms that the admin knows what deleting the desk's own webhook means."""

    understood = forms.BooleanField(
        label="I understand what this desk loses.",
        error_messages={
            "required": "Confirm that you understand what this desk loses."
        },
    )


_LIST = "connections/webhooks.html"


def _shown(connection: Connection, hooks: list[Webhook]) -> dict[str, Any]:
    """Return the context of the list for one account: each webhook with the address of
    its mailbox.
    """
    address_by_id = dict(connection.mailboxes.values_list("upstream_id", "address"))
    return {
        "hooks": [
            (one, address_by_id.get(one.mailbox_id) or one.mailbox_id) for one in hooks
        ]
    }


# Lists the webhooks of every account of which the actor is an admin. MultiMail is asked
# for them now.
_list_page = partial(accounts_page, template=_LIST, read=read_webhooks, shown=_shown)
webhooks = require_safe(_list_page)


@require_get_or_post
@reauthenticated
@for_admins
def add_webhook(request: DeskRequest, connection: Connection) -> HttpResponse:
    """Show the form for a new webhook. Register it, and show its secret once."""
    mailboxes = connection.mailboxes.active().values_list("upstream_id", "address")
    form = WebhookForm(
        posted(request),
        initial={
            "events": request.GET.getlist("events"),
            "include_sandbox": True,
        },
        choices={"mailbox": [("", "All mailboxes"), *mailboxes]},
    )
    if not connection.is_our_gateway:
        del form.fields["include_sandbox"]
    events: Any = form.fields["events"]
    events.template_name = "connections/_webhook_events.html"
    events.groups = GROUPS | (OWN_GROUPS if connection.is_our_gateway else {})
    failed = None
    if form.is_bound:
        try:
            typed = cleaned(form)
            take_ticket(request)
            created = register_webhook(
                connection=connection,
                actor=request.actor,
                wanted=form.wanted(),
                code=typed["approval_code"],
            )
            return render(
                request,
                "connections/webhook_made.html",
                {"connection": connection, "made": created, "is_new": True},
            )
        except SentenceError as error:
            failed = error
    context = {"connection": connection, "form": form, "ticket": new_ticket()}
    return answer(request, "connections/webhook_add.html", context, failed=failed)


def _webhook_page(
    request: DeskRequest,
    connection: Connection,
    webhook: Webhook,
    *,
    failed: SentenceError | None = None,
) -> HttpResponse:
    """Show one webhook with its deliveries."""
    cursor = request.GET.get("before", "")[:200]
    deliveries: list[Delivery] = []
    following = ""
    log_error = ""
    try:
        deliveries, following = read_deliveries(
            connection, actor=request.actor, webhook=webhook, cursor=cursor
        )
    except SentenceError as unread:
        log_error = unread.sentence
    context = {
        "connection": connection,
        "hook": webhook,
        "mailbox": connection.mailboxes.known_as(webhook.mailbox_id)
        if webhook.mailbox_id
        else None,
        "sent": deliveries,
        "following": following,
        "is_first_page": not cursor,
        "log_error": log_error,
        "form": OverlapForm(request.POST if "overlap" in request.POST else None),
        "ticket": new_ticket(),
    }
    return answer(request, "connections/webhook.html", context, failed=failed)


_of_webhook = of_account(
    "webhook",
    "subscription_id",
    read=read_webhook,
    list_page=_list_page,
    page=_webhook_page,
)


webhook = require_safe(_of_webhook(_webhook_page))


@require_POST
@reauthenticated
@_of_webhook
def test(request: DeskRequest, connection: Connection, webhook: Webhook) -> str:
    """Send one signed test event, which is about no message."""
    send_test(connection=connection, webhook=webhook, actor=request.actor)
    return "A test is on its way. Its outcome appears at the top of the log."


@require_POST
@reauthenticated
@_of_webhook
def rotate(
    request: DeskRequest, connection: Connection, webhook: Webhook
) -> HttpResponse:
    """Give the webhook another secret, and show it once."""
    overlap = cleaned(OverlapForm(request.POST))["overlap"]
    take_ticket(request)
    rotated = rotate_webhook(
        connection=connection, webhook=webhook, actor=request.actor, overlap_s=overlap
    )
    return render(
        request,
        "connections/webhook_made.html",
        {
            "connection": connection,
            "made": rotated,
            "overlap": dict(OVERLAPS)[overlap] if overlap else "",
        },
    )


@require_get_or_post
@reauthenticated
@_of_webhook
def delete(
    request: DeskRequest, connection: Connection, webhook: Webhook
) -> HttpResponse:
    """Show what will get no more events, and delete the webhook."""
    form = DeleteOwnForm(posted(request))
    if not webhook.is_ours:
        del form.fields["understood"]
    failed = None
    if form.is_bound:
        try:
            cleaned(form)
            delete_webhook(connection=connection, webhook=webhook, actor=request.actor)
            notice = "The webhook is deleted. Its receiver gets no more events."
            return redirect_with_notice(request, notice, "webhooks")
        except SentenceError as error:
            failed = error
    context = {"connection": connection, "hook": webhook, "form": form}
    return answer(request, "connections/webhook_delete.html", context, failed=failed)


@require_POST
@reauthenticated
@_of_webhook
def replay_delivery(
    request: DeskRequest, connection: Connection, webhook: Webhook, delivery_id: str
) -> str:
    """Send one finished delivery again."""
    replay(
        connection=connection,
        webhook=webhook,
        delivery_id=delivery_id,
        actor=request.actor,
    )
    return "The event is sent again, with the same id and content."
