"""The pages of webhooks and their forms: the list, registering a webhook, and the page
of a webhook with its deliveries, from which it is tested, given another secret or
deleted.
"""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from common.errors import SentenceError
from common.pages import (
    VERBATIM,
    ChoicesForm,
    DrawnForm,
    posted,
    same_error,
    tick_field,
)
from connections.pages import (
    AccountsView,
    AccountView,
    ApprovalCodeForm,
    ObjectView,
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
from people.sign_in.resource_views import ActionView, FormPageView

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
    include_sandbox = tick_field(
        "Include test messages", "Their events contain “sandbox”: true."
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


class WebhookList(AccountsView):
    """Lists the webhooks of each account, each with the address of its mailbox."""

    template_name = "connections/webhooks.html"
    read = staticmethod(read_webhooks)

    def shown(self, connection: Connection, found: list[Webhook]) -> dict[str, Any]:
        address_by_id = dict(connection.mailboxes.values_list("upstream_id", "address"))
        return {
            "hooks": [
                (one, address_by_id.get(one.mailbox_id) or one.mailbox_id)
                for one in found
            ]
        }


class AddWebhook(FormPageView, AccountView):
    """Registers a webhook, and shows its secret once."""

    template_name = "connections/webhook_add.html"

    def get_form(self, form_class: Any = None) -> WebhookForm:
        mailboxes = self.connection.mailboxes.active()
        addresses = mailboxes.values_list("upstream_id", "address")
        form = WebhookForm(
            posted(self.request),
            initial={
                "events": self.request.GET.getlist("events"),
                "include_sandbox": True,
            },
            choices={"mailbox": [("", "All mailboxes"), *addresses]},
        )
        events: Any = form.fields["events"]
        events.template_name = "connections/_webhook_events.html"
        events.groups = GROUPS | OWN_GROUPS
        if not self.connection.is_our_gateway:
            events.groups = GROUPS
            del form.fields["include_sandbox"]
        return form

    def change(self, form: WebhookForm) -> HttpResponse:
        take_ticket(self.request)
        created = register_webhook(
            **self.command_arguments,
            wanted=form.wanted(),
            code=form.cleaned_data["approval_code"],
        )
        context = {"connection": self.connection, "made": created, "is_new": True}
        return render(self.request, "connections/webhook_made.html", context)


class WebhookView(ObjectView):
    """A view about one webhook."""

    object: Webhook
    read = staticmethod(read_webhook)
    url_name = "webhook"
    pk_url_kwarg = "subscription_id"
    context_object_name = "hook"
    list_view = WebhookList


class WebhookPage(WebhookView):
    """Shows a webhook with its deliveries."""

    template_name = "connections/webhook.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kwargs.setdefault("form", OverlapForm())
        webhook = self.object
        cursor = self.request.GET.get("before", "")[:200]
        deliveries: list[Delivery] = []
        following = ""
        log_error = ""
        try:
            deliveries, following = read_deliveries(
                self.connection,
                actor=self.actor,
                webhook=webhook,
                cursor=cursor,
            )
        except SentenceError as unread:
            log_error = unread.sentence
        mailbox = None
        if webhook.mailbox_id:
            mailbox = self.connection.mailboxes.known_as(webhook.mailbox_id)
        return super().get_context_data(
            mailbox=mailbox,
            sent=deliveries,
            following=following,
            is_first_page=not cursor,
            log_error=log_error,
            **kwargs,
        )


class TestWebhook(ActionView, WebhookPage):
    """Sends one signed test event, which is about no message."""

    def change(self, form: Any) -> str:
        send_test(
            **self.command_arguments,
            webhook=self.object,
        )
        return "A test is on its way. Its outcome appears at the top of the log."


class RotateWebhook(ActionView, WebhookPage):
    """Gives the webhook another secret, and shows it once."""

    form_class = OverlapForm
    form_name = "form"

    def change(self, form: OverlapForm) -> HttpResponse:
        take_ticket(self.request)
        overlap = form.cleaned_data["overlap"]
        rotated = rotate_webhook(
            **self.command_arguments,
            webhook=self.object,
            overlap_s=overlap,
        )
        context = {
            "connection": self.connection,
            "made": rotated,
            "overlap": dict(OVERLAPS)[overlap] if overlap else "",
        }
        return render(self.request, "connections/webhook_made.html", context)


class DeleteWebhook(FormPageView, WebhookView):
    """Shows what will get no more events, and deletes the webhook."""

    template_name = "connections/webhook_delete.html"

    def get_form_class(self) -> type[forms.Form]:
        return DeleteOwnForm if self.object.is_ours else forms.Form

    def change(self, form: Any) -> str:
        delete_webhook(
            **self.command_arguments,
            webhook=self.object,
        )
        self.success_url = reverse("webhooks")
        return "The webhook is deleted. Its receiver gets no more events."


class ReplayDelivery(ActionView, WebhookPage):
    """Sends one finished delivery again."""

    def change(self, form: Any) -> str:
        replay(
            **self.command_arguments,
            webhook=self.object,
            delivery_id=self.kwargs["delivery_id"],
        )
        return "The event is sent again, with the same id and content."
