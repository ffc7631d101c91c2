"""What admins fill in about API keys."""

from collections.abc import Iterable
from typing import Any

from django import forms

from common.forms import SentenceForm
from connections.keys.commands import SCOPES, ApiKey
from connections.pages import ApprovalCodeForm
from mirror.models import Mailbox
from people.models import Person


class KeyForm(ApprovalCodeForm):
    """What can be changed of a key. No mailbox ticked means all of them."""

    name = forms.CharField(
        max_length=100,
        error_messages={
            "required": "Name the program that uses the key.",
            "max_length": "Keep the name under 100 characters.",
        },
    )
    scopes = forms.MultipleChoiceField(
        choices=list(SCOPES.items()),
        error_messages={
            "required": "Select at least one scope.",
            "invalid_choice": "There is no such scope.",
        },
    )
    mailboxes = forms.MultipleChoiceField(
        required=False,
        error_messages={
            "invalid_choice": "This mailbox is not in this account, or was deleted."
        },
    )

    def __init__(self, *args: Any, mailboxes: Iterable[Mailbox], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mailboxes"].choices = [  # type: ignore[attr-defined]
            (box.upstream_id, box.address) for box in mailboxes
        ]

    def clean_scopes(self) -> list[str]:
        """Refuse the pair of scopes that would let a program approve its own mail."""
        scopes = list(self.cleaned_data["scopes"])
        if {"send", "oversight"} <= set(scopes):
            raise forms.ValidationError(
                "A key cannot both send and decide: its program could approve its own mail. Make two keys."
            )
        return scopes

    def changes(self, key: ApiKey) -> dict[str, Any]:
        """Return only what differs from the key as it is."""
        changes: dict[str, Any] = {}
        typed = self.cleaned_data
        if typed["name"] != key.name:
            changes["name"] = typed["name"]
        if set(typed["scopes"]) != set(key.scopes):
            changes["scopes"] = typed["scopes"]
        if set(typed["mailboxes"]) != set(key.mailboxes):
            changes["mailboxes"] = typed["mailboxes"] or None
        return changes


class OwnerForm(SentenceForm):
    """Who owns the program that uses a key. Empty means nobody."""

    owner = forms.ModelChoiceField(
        Person.objects.filter(is_active=True).order_by("name", "email"),
        required=False,
        error_messages={"invalid_choice": "Choose a person at this desk, or no owner."},
    )


class NewKeyForm(KeyForm, OwnerForm):
    """A key to make, and who owns the program that will use it."""

    sandbox = forms.BooleanField(required=False)

    def wanted(self) -> dict[str, Any]:
        """Return the fields of the request to MultiMail."""
        names = ("name", "scopes", "sandbox", "mailboxes")
        return {
            name: self.cleaned_data[name] for name in names if self.cleaned_data[name]
        }
