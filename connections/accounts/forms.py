"""Forms for connections. Keys and secrets are accepted, and never rendered into a page
again.
"""

import re
from typing import Any

from django import forms
from django.conf import settings

from common.forms import SentenceForm, always
from connections.accounts.commands import MAX_NAME, MAX_REASON
from connections.accounts.keys import SLOTS, address_error
from connections.accounts.own_webhook import OVERLAPS
from upstream.hosts import HOSTED

OURS = "ours"
THERE = "hosted"
OTHER = "other"
_NAME_ERRORS = {
    "required": "Enter a name.",
    "max_length": f"Keep the name under {MAX_NAME} characters.",
}


class SecretField(forms.RegexField):
    """A secret without spaces, which no page shows again."""

    def __init__(self, *, word: str = "key", least: int = 8, **options: Any) -> None:
        errors = {
            "invalid": f"This is not a {word}. It is one word of {least} to 200 characters. Copy all of it.",
            "required": "Put it in.",
        }
        pattern = rf"\A[\x21-\x7e]{{{least},200}}\Z"
        super().__init__(pattern, error_messages=errors, strip=True, **options)


class AddConnectionForm(SentenceForm):
    """A connection to add: which MultiMail, what to call it, and its keys by slot."""

    place = forms.ChoiceField(
        choices=[(OURS, ""), (THERE, ""), (OTHER, "")],
        error_messages=always("Choose where MultiMail is."),
    )
    address = forms.CharField(
        required=False,
        max_length=200,
        error_messages={"max_length": "This is too long."},
    )
    name = forms.CharField(max_length=MAX_NAME, error_messages=_NAME_ERRORS)
    oversight_key = SecretField()
    read_key = SecretField(required=False)
    admin_key = SecretField(required=False)
    agent_key = SecretField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        location = cleaned.get("place", "")
        known = {OURS: settings.MULTIMAIL_API_URL, THERE: HOSTED}
        url = known.get(location, cleaned.get("address", "")).rstrip("/")
        at = "address" if location == OTHER else "place"
        if location == OTHER and not url:
            self.add_error(
                at, "Enter an address, such as https://mail.yourteam.example."
            )
        elif (
            location and "address" not in self.errors and (error := address_error(url))
        ):
            self.add_error(at, error)
        cleaned["api_url"] = url
        keys = [key for key in self.keys_of(cleaned).values() if key]
        if len(set(keys)) < len(keys):
            self.add_error(None, "One key was entered twice. Each needs its own key.")
        return cleaned

    def keys_of(self, cleaned: dict[str, Any]) -> dict[str, str]:
        """Return the keys by slot, as they were typed."""
        return {
            name: str(cleaned.get(slot.field) or "") for name, slot in SLOTS.items()
        }


class KeyForm(SentenceForm):
    """One key for a slot."""

    key = SecretField()


class NameForm(SentenceForm):
    """A connection's name."""

    name = forms.CharField(max_length=MAX_NAME, error_messages=_NAME_ERRORS)


class AddressForm(SentenceForm):
    """A gateway's new address."""

    address = forms.CharField(
        max_length=200,
        error_messages={
            "required": "Enter an address, such as https://mail.yourteam.example.",
            "max_length": "Too long.",
        },
    )

    def clean_address(self) -> str:
        """Return the address as it is stored: without a trailing slash."""
        url = str(self.cleaned_data["address"]).rstrip("/")
        if not re.fullmatch(r"https?://[^/?#@\s]+", url):
            raise forms.ValidationError(
                "This is not a valid address. It begins with https:// and has no path."
            )
        if error := address_error(url):
            raise forms.ValidationError(error)
        return url


class PauseForm(SentenceForm):
    """Why a connection is paused."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Enter a reason: others need to know why mail waits.",
            "max_length": f"Keep the reason under {MAX_REASON} characters.",
        },
    )


class OverlapForm(SentenceForm):
    """How long the old secret is accepted as well as the new one."""

    overlap = forms.ChoiceField(
        choices=[(name, words) for name, (words, _) in OVERLAPS.items()],
        error_messages=always("Choose how long the old secret stays valid."),
    )


class SecretForm(OverlapForm):
    """A secret that MultiMail made; empty to have the desk make one, which is shown
    once.
    """

    secret = SecretField(word="secret", required=False)


class RemoveForm(SentenceForm):
    """The connection's name, typed as a confirmation."""

    name = forms.CharField(
        max_length=MAX_NAME, error_messages={"required": "Type its name to remove it."}
    )
