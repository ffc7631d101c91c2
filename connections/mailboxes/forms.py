"""The forms with which admins create, change, loosen and delete mailboxes."""

import hashlib
import re
from datetime import timedelta
from typing import Any

from django import forms
from django.forms import model_to_dict
from django.utils.text import capfirst

from common.mail_addresses import clean_address, clean_addresses
from common.pages import MultilineField, SentenceForm, same_error
from connections.mailboxes.commands import MAX_UNDO
from connections.pages import ApprovalCodeForm
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import MODES, NAMES

# The modes that a new mailbox can have. MultiMail never makes a looser one:
# docs/multimail.md, Mailboxes and oversight modes.
NEW_MODES = MODES[: NAMES.index("gated_send") + 1]
# When a scheduled message is reviewed: MultiMail's value, and its words on the page.
TIMINGS = (("gate_first", "At once"), ("schedule_first", "At its sending time"))
_LOCAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


class AddressesField(forms.CharField):
    """Addresses in one line, with commas between them."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        try:
            return clean_addresses(super().clean(value))
        except ValueError as error:
            raise forms.ValidationError(capfirst(str(error))) from None


class NewMailboxForm(ApprovalCodeForm):
    """A mailbox to create."""

    connection = forms.ModelChoiceField(
        Connection.objects.none(), error_messages=same_error("Choose an account.")
    )
    address = forms.CharField(
        max_length=254,
        error_messages={"required": "Enter an address, such as outreach."},
    )
    display_name = forms.CharField(
        required=False,
        max_length=200,
        error_messages={"max_length": "Keep the name under 200 characters."},
    )
    oversight_mode = forms.ChoiceField(
        choices=[(mode.name, mode.words) for mode in NEW_MODES],
        error_messages=same_error("Choose a mode."),
    )
    allow_looser_per_call = forms.BooleanField(required=False)

    def clean_address(self) -> str:
        """Accept a whole address, or the part before the @."""
        typed = str(self.cleaned_data["address"]).strip().lower()
        if "@" in typed:
            try:
                return clean_address(typed)
            except ValueError as error:
                raise forms.ValidationError(str(error)) from None
        if not _LOCAL.fullmatch(typed):
            raise forms.ValidationError(
                "Use only letters, digits, dots, dashes and + before the @."
            )
        return typed

    def wanted(self) -> dict[str, Any]:
        """Return the fields of the request to MultiMail."""
        names = ("address", "display_name", "oversight_mode")
        return {name: self.cleaned_data[name] for name in names}


class SettingsForm(ApprovalCodeForm):
    """Settings of a mailbox at MultiMail. A browser does not send an unticked checkbox,
    so a checkbox that is absent is off.
    """

    display_name = forms.CharField(
        required=False,
        max_length=200,
        error_messages={"max_length": "Keep the name under 200 characters."},
    )
    auto_cc = AddressesField(required=False, max_length=2000)
    auto_bcc = AddressesField(required=False, max_length=2000)
    signature_block = MultilineField(
        required=False,
        max_length=200,
        error_messages={"max_length": "A signature has at most 200 characters."},
    )
    commercial = forms.BooleanField(required=False)
    forward_inbound = forms.BooleanField(required=False)
    scheduling_enabled = forms.BooleanField(required=False)
    allow_looser_per_call = forms.BooleanField(required=False)
    require_fingerprint = forms.BooleanField(required=False)
    send_as_designed = forms.BooleanField(required=False)
    default_gate_timing = forms.ChoiceField(
        required=False,
        choices=[("", ""), *TIMINGS],
        error_messages={"invalid_choice": "Choose one of the two."},
    )

    @classmethod
    def seen_state(cls, mailbox: Mailbox) -> str:
        """Return a hash of the settings that the page shows. The form sends it back, so
        that another person's change meanwhile is not overwritten.
        """
        shown = repr(model_to_dict(mailbox, cls.base_fields))
        return hashlib.sha256(shown.encode()).hexdigest()

    def changes(self, mailbox: Mailbox) -> dict[str, Any]:
        """Return only the settings that differ from the mailbox's."""
        left_out = {"approval_code"}
        if not self.cleaned_data["default_gate_timing"]:
            left_out.add("default_gate_timing")
        if not mailbox.connection.is_our_gateway:
            # Hosted MultiMail does not know these, and would silently ignore them.
            left_out |= {"require_fingerprint", "commercial", "send_as_designed"}
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in left_out and getattr(mailbox, name) != value
        }


class DeskForm(SentenceForm):
    """The desk's own settings for a mailbox. A browser does not send an unticked
    checkbox, so a checkbox that is absent is off.
    """

    undo_seconds = forms.IntegerField(
        min_value=0,
        max_value=int(MAX_UNDO.total_seconds()),
        error_messages=same_error("Enter 0 to 600 seconds, in whole numbers."),
    )
    loads_pictures = forms.BooleanField(required=False)

    @staticmethod
    def values_of(mailbox: Mailbox) -> dict[str, Any]:
        """Return the present settings of a mailbox, as the form shows them."""
        undo_seconds = int(mailbox.undo_window.total_seconds())
        return model_to_dict(mailbox) | {"undo_seconds": undo_seconds}

    def wanted(self) -> dict[str, Any]:
        """Return the settings by the mailbox's fields."""
        wanted = dict(self.cleaned_data)
        wanted["undo_window"] = timedelta(seconds=wanted.pop("undo_seconds"))
        return wanted


def _mode_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=[(mode.name, mode.words) for mode in MODES],
        error_messages=same_error("Choose one of the five modes."),
    )


class ModeForm(SentenceForm):
    """The oversight mode to change to."""

    mode = _mode_field()


class LoosenForm(SentenceForm):
    """The looser mode to change to, and the code for it if MultiMail sent that to a
    person.
    """

    to = _mode_field()
    code = forms.CharField(
        required=False,
        max_length=40,
        error_messages={"max_length": "A code has at most 40 characters."},
    )


class DeleteForm(ApprovalCodeForm):
    """The address of the mailbox to delete, typed as a confirmation."""

    address = forms.CharField(
        max_length=320, error_messages={"required": "Type the address of the mailbox."}
    )

    def __init__(self, *args: Any, mailbox: Mailbox, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mailbox = mailbox

    def clean_address(self) -> str:
        """Accept only the mailbox's own address."""
        typed = str(self.cleaned_data["address"]).strip().lower()
        if typed != str(self._mailbox).lower():
            raise forms.ValidationError(f"This is not {self._mailbox}.")
        return typed
