"""The pages of API keys and their forms: the list of keys; making a key, whose text is
shown once; and changing, pausing and revoking a key.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from approvals.models import Brake
from common.errors import SentenceError
from common.pages import (
    ChoicesForm,
    DeskRequest,
    DrawnForm,
    NotedChoice,
    cleaned,
    first_or_404,
    posted,
    redirect_with_notice,
    require_get_or_post,
)
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
    ApprovalCodeForm,
    accounts_page,
    answer,
    for_admins,
    new_ticket,
    of_account,
    take_ticket,
)
from mirror.models import Connection
from people.models import Person
from people.sign_in.reauthentication import reauthenticated


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

    sandbox = forms.BooleanField(
        label="Test key",
        help_text="Its mail is held for review as usual, marked as a test, and never delivered.",
        required=False,
    )
    field_order = ("name", "scopes", "mailboxes", "sandbox", "owner")

    def wanted(self) -> dict[str, Any]:
        """Return the fields of the request to MultiMail."""
        names = ("name", "scopes", "sandbox", "mailboxes")
        typed = self.cleaned_data
        return {name: typed[name] for name in names if typed.get(name)}


_LIST = "connections/api_keys.html"


def _shown(connection: Connection, keys: list[ApiKey]) -> dict[str, Any]:
    """Return the context of the list for one account: each active key with the
    addresses of its mailboxes, and the revoked keys.
    """
    address_by_id = dict(connection.mailboxes.values_list("upstream_id", "address"))
    working = [
        (key, [address_by_id.get(one) or one for one in key.mailboxes])
        for key in keys
        if key.is_active
    ]
    return {"keys": working, "revoked": [key for key in keys if not key.is_active]}


# Lists the keys of every account of which the actor is an admin. MultiMail is asked for
# them now.
_list_page = partial(accounts_page, template=_LIST, read=read_keys, shown=_shown)
api_keys = require_safe(_list_page)


@require_get_or_post
@reauthenticated
@for_admins
def add_key(request: DeskRequest, connection: Connection) -> HttpResponse:
    """Show the form for a new key. Make the key, and show its text once."""
    # What an agent needs. It is not public whether MultiMail grants the last one.
    scopes = ["read", "send", "oversight_read"] if connection.is_our_gateway else []
    form = NewKeyForm(
        posted(request), initial={"scopes": scopes}, choices=_mailboxes(connection)
    )
    if not connection.is_our_gateway:
        del form.fields["sandbox"]
    failed = None
    if form.is_bound:
        try:
            wanted = cleaned(form)
            take_ticket(request)
            created = create_key(
                connection=connection,
                actor=request.actor,
                wanted=form.wanted(),
                owner=wanted["owner"],
                code=wanted["approval_code"],
            )
            return render(
                request,
                "connections/api_key_made.html",
                {"connection": connection, "made": created, "owner": wanted["owner"]},
            )
        except SentenceError as error:
            failed = error
    context = {"connection": connection, "form": form, "ticket": new_ticket()}
    return answer(request, "connections/api_key_add.html", context, failed=failed)


def _key_page(
    request: DeskRequest,
    connection: Connection,
    key: ApiKey,
    *,
    failed: SentenceError | None = None,
) -> HttpResponse:
    """Show one key, with the forms to change it."""
    typed = request.POST
    now = {"name": key.name, "scopes": key.scopes, "mailboxes": key.mailboxes}
    context = {
        "connection": connection,
        "key": key,
        "form": KeyForm(
            typed if "name" in typed else None,
            initial=now,
            choices=_mailboxes(connection),
        ),
        "resume_form": ApprovalCodeForm(auto_id="resume-%s"),
        "owner_form": OwnerForm(
            typed if "owner" in typed else None, initial={"owner": key.owner}
        ),
    }
    return answer(request, "connections/api_key.html", context, failed=failed)


_of_key = of_account(
    "api-key",
    "key_id",
    read=read_key,
    list_page=_list_page,
    page=_key_page,
)


api_key = require_safe(_of_key(_key_page))


@require_POST
@reauthenticated
@_of_key
def change(request: DeskRequest, connection: Connection, key: ApiKey) -> str:
    """Change name, scopes or mailboxes of a key."""
    form = KeyForm(request.POST, choices=_mailboxes(connection))
    typed = cleaned(form)
    change_key(
        connection=connection,
        key=key,
        actor=request.actor,
        changes=form.changes(key),
        code=typed["approval_code"],
    )
    return f"The key {typed['name']} is changed."


@require_POST
@reauthenticated
@_of_key
def set_key_owner(request: DeskRequest, connection: Connection, key: ApiKey) -> str:
    """Set who owns the program that uses a key."""
    owner = cleaned(OwnerForm(request.POST))["owner"]
    set_owner(
        connection=connection,
        key_id=key.id,
        name=key.label,
        person=owner,
        actor=request.actor,
    )
    if owner:
        return f"{owner} owns {key.label} and may not approve what it sends."
    return f"{key.label} has no owner now."


@require_POST
@reauthenticated
@_of_key
def set_paused(request: DeskRequest, connection: Connection, key: ApiKey) -> str:
    """Pause a key, or let it send again."""
    if request.POST.get("do") == "resume":
        code = cleaned(ApprovalCodeForm(request.POST))["approval_code"]
        resume_key(connection=connection, key=key, actor=request.actor, code=code)
        return f"{key.label} may send again."
    pause_key(connection=connection, key_id=key.id, name=key.label, actor=request.actor)
    return f"{key.label} is paused. MultiMail refuses what it sends."


@require_POST
@reauthenticated
def pause_of_flood(request: DeskRequest, brake_id: int) -> HttpResponse:
    """Pause the key that sent a flood. Reviewers of the flooded mailbox may do this
    too.
    """
    floods = Brake.objects.visible_to(request.actor).exclude(sent_by_key="")
    flood = first_or_404(
        floods.filter(pk=brake_id).select_related("connection"),
        "There is no such group of messages over limit, or its key is not known.",
    )
    name = flood.sent_by_key_name or flood.sent_by_key
    try:
        pause_key(
            connection=flood.connection,
            key_id=flood.sent_by_key,
            name=name,
            actor=request.actor,
            mailbox=flood.mailbox_id,
        )
    except SentenceError as error:
        context = {"flood": flood, "name": name}
        return answer(
            request, "connections/api_key_not_paused.html", context, failed=error
        )
    notice = f"The key {name} is paused. MultiMail refuses what it sends until an admin resumes it."
    return redirect_with_notice(request, notice, "brake", brake_id=flood.pk)


@require_get_or_post
@reauthenticated
@_of_key
def revoke(request: DeskRequest, connection: Connection, key: ApiKey) -> HttpResponse:
    """Show what stops working without the key, and revoke it."""
    form = ApprovalCodeForm(posted(request))
    failed = None
    if form.is_bound:
        try:
            code = cleaned(form)["approval_code"]
            revoke_key(connection=connection, key=key, actor=request.actor, code=code)
            notice = f"{key.label} is revoked. MultiMail refuses it from now on."
            return redirect_with_notice(request, notice, "api-keys")
        except SentenceError as error:
            failed = error
    context = {"connection": connection, "key": key, "form": form}
    return answer(request, "connections/api_key_revoke.html", context, failed=failed)
