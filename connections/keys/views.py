"""The pages of API keys and their forms: the list of keys; making a key, whose text is
shown once; and changing, pausing and revoking a key.
"""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from approvals.models import Brake
from common.pages import (
    ChoicesForm,
    DayField,
    DrawnForm,
    NotedChoice,
    first_or_404,
    posted,
    tick_field,
)
from common.time_zones import here, local_time
from connections.keys.commands import (
    SCOPES,
    ApiKey,
    change_key,
    create_key,
    pause_key,
    read_key,
    read_keys,
    resume_key,
    revoke_key,
    set_owner,
)
from connections.pages import (
    AccountsView,
    AccountView,
    ApprovalCodeForm,
    ObjectView,
    take_ticket,
)
from mirror.models import Connection
from people.models import Person
from people.sign_in.resource_views import ActionView, FormPageView
from upstream.events import written_time


class KeyForm(ApprovalCodeForm, ChoicesForm):
    """What can be changed about a key. If no mailbox is ticked, the key may use all."""

    name = forms.CharField(
        help_text="Which program uses it. Reviewers see it beside what the program sends.",
        max_length=100,
        widget=forms.TextInput({"placeholder": "Support bot"}),
        error_messages={"required": "Name the program that uses the key."},
    )
    scopes = forms.MultipleChoiceField(
        label="What it may do",
        help_text="A key cannot have both send and oversight: its program could approve its own mail. Use oversight "
        "for this desk, and read, send and oversight_read for agents: theirs lists outgoing mail alone.",
        choices=[(scope, NotedChoice(scope, words)) for scope, words in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": "Select at least one scope.",
            "invalid_choice": "There is no such scope.",
        },
    )
    mailboxes = forms.MultipleChoiceField(
        label="Only these mailboxes",
        help_text="None selected: all mailboxes, including new ones.",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "invalid_choice": "This mailbox is not in this account, or was deleted."
        },
    )

    def clean_scopes(self) -> list[str]:
        """Refuse scopes that together would let a program approve its own mail."""
        scopes = list(self.cleaned_data["scopes"])
        if {"send", "oversight"} <= set(scopes):
            raise forms.ValidationError(
                "A key cannot both send and decide: its program could approve its own mail. Make two keys."
            )
        return scopes

    def changes(self, key: ApiKey) -> dict[str, Any]:
        """Return only the fields that differ from the key."""
        changes: dict[str, Any] = {}
        typed = self.cleaned_data
        if typed["name"] != key.name:
            changes["name"] = typed["name"]
        if set(typed["scopes"]) != set(key.scopes):
            changes["scopes"] = typed["scopes"]
        # The form offers no mailbox that was deleted or is not read yet. Such a limit of
        # the key stays, unless somebody selects others.
        field: Any = self.fields["mailboxes"]
        offered = {name for name, _ in field.choices}
        if set(typed["mailboxes"]) != offered.intersection(key.mailboxes):
            changes["mailboxes"] = typed["mailboxes"] or None
        return changes


def _mailboxes(connection: Connection) -> dict[str, Iterable[tuple[str, str]]]:
    active = connection.mailboxes.active()
    return {"mailboxes": active.values_list("upstream_id", "address")}


class OwnerForm(DrawnForm):
    """The person who owns the program that uses a key; empty for nobody."""

    owner = forms.ModelChoiceField(
        Person.objects.filter(is_active=True).order_by("name", "email"),
        empty_label="No owner",
        help_text="The owner may not approve what this key sends.",
        required=False,
        error_messages={"invalid_choice": "Choose a person at this desk, or no owner."},
    )


class NewKeyForm(KeyForm, OwnerForm):
    """A key to make, and the person who owns the program that will use it."""

    sandbox = tick_field(
        "Test key",
        "Its mail is held for review as usual, marked as a test, and never delivered.",
    )
    ends = DayField(
        label="Expires",
        help_text="At the end of this day. Empty: never.",
        required=False,
    )
    field_order = ("name", "scopes", "mailboxes", "sandbox", "ends", "owner")

    def clean_ends(self) -> datetime | None:
        """Return the end of the day, in the reader's time zone."""
        day: date | None = self.cleaned_data["ends"]
        if day is None:
            return None
        if not local_time(timezone.now()).date() <= day < date(2200, 1, 1):
            raise forms.ValidationError("Choose today or a later day.")
        return here(datetime.combine(day + timedelta(days=1), time()))

    def wanted(self) -> dict[str, Any]:
        """Return the fields of the request to MultiMail."""
        names = ("name", "scopes", "sandbox", "mailboxes")
        typed = self.cleaned_data
        wanted = {name: typed[name] for name in names if typed.get(name)}
        if ends := typed.get("ends"):
            wanted["expires_at"] = written_time(ends)
        return wanted


class KeyList(AccountsView):
    """Lists the API keys of each account: the active keys, each with the addresses of
    its mailboxes, and the revoked keys.
    """

    template_name = "connections/api_keys.html"
    read = staticmethod(read_keys)

    def shown(self, connection: Connection, found: list[ApiKey]) -> dict[str, Any]:
        address_by_id = dict(connection.mailboxes.values_list("upstream_id", "address"))
        working = [
            (key, [address_by_id.get(one) or one for one in key.mailboxes])
            for key in found
            if key.is_active
        ]
        return {"keys": working, "revoked": [key for key in found if not key.is_active]}


class AddKey(FormPageView, AccountView):
    """Makes a key, and shows its text once."""

    template_name = "connections/api_key_add.html"

    def get_form(self, form_class: Any = None) -> NewKeyForm:
        is_ours = self.connection.is_our_gateway
        # What an agent needs. It is not public whether MultiMail grants the last one.
        scopes = ["read", "send", "oversight_read"] if is_ours else []
        form = NewKeyForm(
            posted(self.request),
            initial={"scopes": scopes},
            choices=_mailboxes(self.connection),
        )
        if not is_ours:
            del form.fields["sandbox"], form.fields["ends"]
        return form

    def change(self, form: NewKeyForm) -> HttpResponse:
        take_ticket(self.request)
        owner = form.cleaned_data["owner"]
        created = create_key(
            **self.command_arguments,
            wanted=form.wanted(),
            owner=owner,
            code=form.cleaned_data["approval_code"],
        )
        context = {"connection": self.connection, "made": created, "owner": owner}
        return render(self.request, "connections/api_key_made.html", context)


class KeyView(ObjectView):
    """A view about one API key."""

    object: ApiKey
    read = staticmethod(read_key)
    url_name = "api-key"
    pk_url_kwarg = "key_id"
    context_object_name = "key"
    list_view = KeyList


class KeyPage(KeyView):
    """Shows a key, with the forms to change it."""

    template_name = "connections/api_key.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        key = self.object
        now = {"name": key.name, "scopes": key.scopes, "mailboxes": key.mailboxes}
        choices = _mailboxes(self.connection)
        kwargs.setdefault("form", KeyForm(initial=now, choices=choices))
        kwargs.setdefault("owner_form", OwnerForm(initial={"owner": key.owner}))
        kwargs["resume_form"] = ApprovalCodeForm(auto_id="resume-%s")
        return super().get_context_data(**kwargs)


class ChangeKey(ActionView, KeyPage):
    """Changes name, scopes or mailboxes of a key."""

    form_name = "form"

    def get_form(self, form_class: Any = None) -> KeyForm:
        return KeyForm(self.request.POST, choices=_mailboxes(self.connection))

    def change(self, form: KeyForm) -> str:
        change_key(
            **self.command_arguments,
            key=self.object,
            changes=form.changes(self.object),
            code=form.cleaned_data["approval_code"],
        )
        return f"The key {form.cleaned_data['name']} is changed."


class SetKeyOwner(ActionView, KeyPage):
    """Sets who owns the program that uses a key."""

    form_class = OwnerForm
    form_name = "owner_form"

    def change(self, form: OwnerForm) -> str:
        owner = form.cleaned_data["owner"]
        label = self.object.label
        set_owner(
            **self.command_arguments,
            key_id=self.object.id,
            name=label,
            person=owner,
        )
        if owner:
            return f"{owner} owns {label} and may not approve what it sends."
        return f"{label} has no owner now."


class PauseKey(ActionView, KeyPage):
    """Pauses a key, or lets it send again."""

    form_class = ApprovalCodeForm

    def change(self, form: ApprovalCodeForm) -> str:
        key = self.object
        if self.request.POST.get("do") == "resume":
            code = form.cleaned_data["approval_code"]
            resume_key(**self.command_arguments, key=key, code=code)
            return f"{key.label} may send again."
        pause_key(**self.command_arguments, key_id=key.id, name=key.label)
        return f"{key.label} is paused. MultiMail refuses what it sends."


class RevokeKey(FormPageView, KeyView):
    """Shows what stops working without the key, and revokes it."""

    template_name = "connections/api_key_revoke.html"
    form_class = ApprovalCodeForm

    def change(self, form: ApprovalCodeForm) -> str:
        revoke_key(
            **self.command_arguments,
            key=self.object,
            code=form.cleaned_data["approval_code"],
        )
        self.success_url = reverse("api-keys")
        return f"{self.object.label} is revoked. MultiMail refuses it from now on."


class PauseKeyOfFlood(ActionView):
    """Pauses the key that sent a flood. Reviewers of the flooded mailbox may do this
    too.
    """

    template_name = "connections/api_key_not_paused.html"

    def prepare(self) -> None:
        floods = Brake.objects.visible_to(self.actor).exclude(sent_by_key="")
        flood = first_or_404(
            floods.filter(pk=self.kwargs["brake_id"]).select_related("connection"),
            "There is no such group of messages over limit, or its key is not known.",
        )
        self.flood = flood
        self.name = flood.sent_by_key_name or flood.sent_by_key
        self.extra_context = {"flood": flood, "name": self.name}
        self.success_url = reverse("brake", args=[flood.pk])

    def change(self, form: Any) -> str:
        flood = self.flood
        pause_key(
            connection=flood.connection,
            key_id=flood.sent_by_key,
            name=self.name,
            actor=self.actor,
            mailbox=flood.mailbox_id,
        )
        return f"The key {self.name} is paused. MultiMail refuses what it sends until an admin resumes it."
