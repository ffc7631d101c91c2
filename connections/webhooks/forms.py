"""What admins fill in about webhooks."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django import forms

from common.forms import SentenceForm, always
from connections.pages import ApprovalCodeForm
from connections.webhooks.events import BY_NAME
from mirror.models import Mailbox

# MultiMail's limit.
OVERLAPS = (
    (0, "at once"),
    (3600, "for an hour"),
    (86400, "for a day"),
    (604800, "for a week"),
)


MAX_NAME = 80


def _name_field() -> forms.CharField:
    return forms.CharField(
        max_length=MAX_NAME,
        error_messages={
            "required": "Give it a name that says who receives the events.",
            "max_length": f"Keep the name under {MAX_NAME} characters.",
        },
    )


class WebhookForm(ApprovalCodeForm):
    """A webhook to register."""

    name = _name_field()

    url = forms.CharField(
        max_length=2000,
        error_messages={
            "required": "Enter where the events go: an address that begins with https://.",
            "max_length": "An address has at most 2000 characters.",
        },
    )
    events = forms.MultipleChoiceField(
        choices=[(name, name) for name in BY_NAME],
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
    include_sandbox = forms.BooleanField(required=False)
    secret = forms.CharField(
        required=False,
        min_length=8,
        max_length=200,
        error_messages=always(
            "A secret has 8 to 200 characters. Empty: MultiMail creates one."
        ),
    )

    def __init__(self, *args: Any, mailboxes: Iterable[Mailbox], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [
            ("", "All mailboxes"),
            *((box.upstream_id, box.address) for box in mailboxes),
        ]
        self.fields["mailbox"].choices = choices  # type: ignore[attr-defined]

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
        cleaned = self.cleaned_data
        return {
            "url": cleaned["url"],
            "events": cleaned["events"],
            "mailbox_id": cleaned["mailbox"],
            "secret": cleaned["secret"],
            "include_sandbox": cleaned["include_sandbox"],
        }


class NameForm(SentenceForm):
    """What people here call a webhook."""

    name = _name_field()


class OverlapForm(SentenceForm):
    """How long the old secret keeps signing along with the new one."""

    overlap = forms.TypedChoiceField(
        choices=OVERLAPS,
        coerce=int,
        error_messages=always("Choose how long the old secret stays valid."),
    )


class DeleteWebhookForm(SentenceForm):
    """Confirms deleting a webhook; for the desk's own, also that the consequences were
    read.
    """

    understood = forms.BooleanField(required=False)

    def __init__(self, *args: Any, is_ours: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["understood"].required = is_ours
        self.fields["understood"].error_messages["required"] = (
            "Confirm that you understand what this desk loses."
        )
