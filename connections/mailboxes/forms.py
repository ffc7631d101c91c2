"""The forms with which admins create, change, loosen and delete mailboxes."""

import hashlib
import re
from datetime import timedelta
from typing import Any

from django import forms
from django.forms import model_to_dict
from django.utils.text import capfirst

from common.mail_addresses import ascii_address, clean_addresses
from common.pages import (
    VERBATIM,
    DrawnForm,
    MultilineField,
    NotedChoice,
    SentenceForm,
    same_error,
    tick_field,
)
from connections.mailboxes.commands import MAX_UNDO
from connections.pages import ApprovalCodeForm
from mirror.models import Connection, Mailbox
from mirror.oversight_modes import MODES, NAMES

# The modes that a new mailbox can have. MultiMail never makes a looser one:
# docs/multimail.md, Mailboxes and oversight modes.
NEW_MODES = MODES[: NAMES.index("gated_send") + 1]
# When a scheduled message is reviewed: MultiMail's value, and its words on the page.
TIMINGS = (("gate_first", "At once"), ("schedule_first", "At its sending time"))
ADDRESS_INPUT = {**VERBATIM, "inputmode": "email"}
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


def _display_name() -> forms.CharField:
    return forms.CharField(
        label="Name that recipients see", required=False, max_length=200
    )


class NewMailboxForm(ApprovalCodeForm):
    """A mailbox to create."""

    connection = forms.ModelChoiceField(
        Connection.objects.none(),
        label="Account",
        empty_label=None,
        error_messages=same_error("Choose an account."),
    )
    address = forms.CharField(
        help_text="The part before the @, or the whole address if the account has several domains. It can never be "
        "used again for another mailbox.",
        max_length=254,
        error_messages={"required": "Enter an address, such as outreach."},
        widget=forms.TextInput(ADDRESS_INPUT | {"placeholder": "outreach"}),
    )
    display_name = _display_name()
    oversight_mode = forms.ChoiceField(
        label="Oversight",
        help_text="You can loosen the mode later.",
        choices=[
            (
                mode.name,
                NotedChoice(
                    mode.words, f"Received mail: {mode.received} Sent mail: {mode.sent}"
                ),
            )
            for mode in NEW_MODES
        ],
        initial="gated_send",
        error_messages=same_error("Choose a mode."),
        widget=forms.RadioSelect,
    )
    allow_looser_per_call = tick_field(
        "A call may loosen the oversight",
        "Looser: anybody with an agent key can then send any message without review, by oversight_mode “autonomous” "
        "in the call. Otherwise such mail is held, and the answer says so.",
    )

    def clean_address(self) -> str:
        """Accept a whole address, or the part before the @."""
        typed = str(self.cleaned_data["address"]).strip().lower()
        if "@" in typed:
            try:
                return ascii_address(typed)
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


def _addresses(label: str, help_text: str = "") -> AddressesField:
    return AddressesField(
        label=label,
        help_text=help_text,
        required=False,
        max_length=2000,
        widget=forms.TextInput(ADDRESS_INPUT | {"placeholder": "nobody"}),
    )


class SettingsForm(ApprovalCodeForm):
    """Settings of a mailbox at MultiMail. A browser does not send an unticked checkbox,
    so a checkbox that is absent is off.
    """

    display_name = _display_name()
    auto_cc = _addresses("Cc on everything it sends")
    auto_bcc = _addresses(
        "Bcc on everything it sends",
        "Separate several with commas. Reviewers see both.",
    )
    signature_block = MultilineField(
        label="Signature",
        required=False,
        max_length=200,
        widget=forms.Textarea({"rows": 3}),
    )
    default_gate_timing = forms.ChoiceField(
        label="Scheduled mail is reviewed",
        required=False,
        choices=[("", "As MultiMail does it"), *TIMINGS],
        error_messages={"invalid_choice": "Choose one of the two."},
    )
    commercial = tick_field(
        "Commercial mail",
        "Each message shows the account's postal address and a link to unsubscribe, and has one recipient. Needs a "
        "postal address of the account, and no automatic copies.",
    )
    send_as_designed = tick_field(
        "Send HTML as designed",
        "Looser; for newsletters. The agent's HTML is sent unchanged. Reviewers still read its simple form, so "
        "recipients may see it differently.",
    )
    forward_inbound = tick_field(
        "Forward", "Received mail is also sent to the oversight address."
    )
    scheduling_enabled = tick_field("Scheduling", "Agents may schedule mail.")
    allow_looser_per_call = tick_field(
        "A call may loosen the oversight",
        "Looser. The sender can ask for any message of this mailbox to be sent without review. Never in read only.",
    )
    require_fingerprint = tick_field(
        "Decisions by API name the fingerprint",
        "The gateway refuses a decision that does not say which version was read. This desk always does. Switching it "
        "off takes an operator's code.",
    )
    # Hosted MultiMail does not know these, and would silently ignore them.
    only_ours = ("commercial", "send_as_designed", "require_fingerprint")

    def __init__(self, data: Any, *, mailbox: Mailbox) -> None:
        super().__init__(data, initial=model_to_dict(mailbox))
        if mailbox.default_gate_timing:
            self.fields["default_gate_timing"].choices = TIMINGS  # type: ignore[attr-defined]
        if not mailbox.connection.is_our_gateway:
            for name in self.only_ours:
                del self.fields[name]
        elif mailbox.connection.require_fingerprint:
            field = self.fields["require_fingerprint"]
            field.help_text += " The account requires it of all mailboxes anyway."

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
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in left_out and getattr(mailbox, name) != value
        }


class DeskForm(DrawnForm):
    """The desk's own settings for a mailbox. A browser does not send an unticked
    checkbox, so a checkbox that is absent is off.
    """

    undo_seconds = forms.IntegerField(
        label="Undo, in seconds",
        help_text="How long a decision can be undone.",
        min_value=0,
        max_value=int(MAX_UNDO.total_seconds()),
        error_messages=same_error("Enter 0 to 600 seconds, in whole numbers."),
    )
    loads_pictures = tick_field(
        "Remote pictures on request",
        "People who open a message can have the desk fetch its remote pictures, once. Their servers then learn this "
        "desk's IP address, and when somebody here looks at the message. Tracking pixels are not fetched. "
        "Otherwise nothing remote is ever loaded.",
    )

    def __init__(self, data: Any, *, mailbox: Mailbox) -> None:
        undo_seconds = int(mailbox.undo_window.total_seconds())
        initial = model_to_dict(mailbox) | {"undo_seconds": undo_seconds}
        super().__init__(data, initial=initial)

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


class LoosenForm(ApprovalCodeForm):
    """The looser mode to change to."""

    to = _mode_field()


class DeleteForm(ApprovalCodeForm):
    """The address of the mailbox to delete, typed as a confirmation."""

    address = forms.CharField(
        max_length=320,
        error_messages={"required": "Type the address of the mailbox."},
        widget=forms.TextInput(ADDRESS_INPUT),
    )

    def __init__(self, *args: Any, mailbox: Mailbox, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["address"].label = f"Type {mailbox}"
        self._mailbox = mailbox

    def clean_address(self) -> str:
        """Accept only the mailbox's own address."""
        typed = str(self.cleaned_data["address"]).strip().lower()
        if typed != str(self._mailbox).lower():
            raise forms.ValidationError(f"This is not {self._mailbox}.")
        return typed
