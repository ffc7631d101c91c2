"""All parsing of what people send: the verdict, and the queue's address line."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django import forms

from approvals.states import Outcome
from common.fingerprint import FINGERPRINT

TABS = {"waiting": "Waiting", "leaving": "Leaving", "unknown": "Unknown", "failed": "Failed", "done": "Done"}
# MultiMail takes 2000 characters, and our reference is put behind the reason.
MAX_REASON = 1900


class WordsField(forms.CharField):
    """Text of several lines, counted as the browser counts it: a form sends each end of line as two characters."""

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class VerdictForm(forms.Form):
    """What a person says to a message. Rejecting and sending back need a reason, because the writer reads it."""

    outcome = forms.ChoiceField(
        choices=Outcome.choices, error_messages={"invalid_choice": "Choose approve, reject or send back."}
    )
    fingerprint = forms.RegexField(
        FINGERPRINT, error_messages={"invalid": "The page is too old to decide from. Open the message again."}
    )
    reason = WordsField(
        required=False,
        max_length=MAX_REASON,
        error_messages={"max_length": f"Keep the reason under {MAX_REASON} characters."},
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        outcome = cleaned.get("outcome")
        if outcome == Outcome.REJECT and not cleaned.get("reason"):
            self.add_error("reason", "Say why, so that the agent can do better: the reason is sent to it.")
        if outcome == Outcome.SEND_BACK and not cleaned.get("reason"):
            self.add_error("reason", "Say what should change: the agent gets these words.")
        return cleaned

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")


class StopForm(forms.Form):
    """What the kill switch shall stop, and why: everybody reads the reason until it is released."""

    scope = forms.ChoiceField(
        error_messages={"required": "Choose what to stop.", "invalid_choice": "That is not yours to stop."}
    )
    reason = WordsField(
        max_length=1000,
        error_messages={
            "required": "Say why: whoever finds the mail stopped must know what to wait for.",
            "max_length": "Keep the reason under 1000 characters.",
        },
    )

    def __init__(self, *args: Any, scopes: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scope"].choices = scopes  # type: ignore[attr-defined]

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")


class HoldAllForm(forms.Form):
    """Whether the gateway shall hold all mail."""

    hold = forms.ChoiceField(choices=[("on", "Hold all mail"), ("off", "Let mail leave again")])


class SettleForm(forms.Form):
    """A person's word for what became of a decision."""

    took_effect = forms.ChoiceField(choices=[("yes", "It was carried out"), ("no", "It was not")])


class MessageForm(forms.Form):
    """The message page's address: the version that the reader has read, to see what changed since. Nonsense is none."""

    since = forms.RegexField(FINGERPRINT, required=False)

    def read_before(self) -> str:
        """Return the fingerprint of the version that was read, empty where none is given."""
        self.is_valid()
        return str(self.cleaned_data.get("since") or "")


class OpenedForm(forms.Form):
    """The version that was on a person's screen; nonsense is read as the current one."""

    fingerprint = forms.RegexField(FINGERPRINT, required=False)

    def fingerprint_shown(self) -> str:
        """Return its fingerprint, empty where none is given."""
        self.is_valid()
        return str(self.cleaned_data.get("fingerprint") or "")


class PulseForm(forms.Form):
    """The message that is open on the page that asks for the pulse."""

    open = forms.UUIDField(required=False)

    def open_message(self) -> UUID | None:
        """Return its id, None where none is open."""
        self.is_valid()
        return self.cleaned_data.get("open")


class QueueForm(forms.Form):
    """The queue's address: a tab and the row that a page begins after. Nonsense is read as the first page."""

    tab = forms.ChoiceField(choices=list(TABS.items()), required=False)
    after = forms.RegexField(r"\A[0-9]{1,18}-[0-9]{1,18}\Z", required=False)

    def place(self) -> tuple[str, tuple[datetime, int] | None]:
        """Return the tab, and the time and key to begin after."""
        self.is_valid()
        tab = self.cleaned_data.get("tab") or "waiting"
        after = self.cleaned_data.get("after")
        if not after:
            return tab, None
        microseconds, key = (int(part) for part in after.split("-"))
        try:
            return tab, (datetime.fromtimestamp(microseconds / 1_000_000, UTC), key)
        except (OverflowError, OSError, ValueError):
            return tab, None
