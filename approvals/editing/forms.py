"""The form in which a person corrects a held message, or suggests another text to its
agent.
"""

from typing import Any

from django import forms

from approvals.decisions.forms import MAX_REASON
from common.fingerprint import FINGERPRINT
from common.forms import SentenceForm, WordsField
from common.mail_addresses import clean_addresses

# MultiMail's limits: docs/multimail.md.
MAX_SUBJECT = 998
MAX_BODY = 262_144
MAX_RECIPIENTS = 50
# What stands around a note in the reason of the rejection.
MAX_NOTE = MAX_REASON - 350


# What a person may correct.
EDITED = ("to", "cc", "bcc", "subject", "markdown")


class RecipientsField(forms.CharField):
    """Addresses with commas or line ends between them."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, tuple) else value

    def clean(self, value: Any) -> list[str]:
        typed = str(super().clean(value) or "").replace("\n", ",").replace(";", ",")
        try:
            found = clean_addresses(typed)
        except ValueError as error:
            raise forms.ValidationError(
                str(error)[:1].upper() + str(error)[1:]
            ) from None
        if len(found) > MAX_RECIPIENTS:
            raise forms.ValidationError(
                f"At most {MAX_RECIPIENTS} addresses, and there are {len(found)}."
            )
        return found


class TextForm(SentenceForm):
    """The text alone, for its preview."""

    markdown = WordsField(
        max_length=MAX_BODY,
        strip=False,
        error_messages={
            "required": "The message needs a text.",
            "max_length": f"Keep the text under {MAX_BODY:,} characters.",
        },
    )


class EditForm(TextForm):
    """A corrected message. `reference` was made for the page, so that a second press
    sends nothing twice.
    """

    to = RecipientsField(error_messages={"required": "Enter at least one recipient."})
    cc = RecipientsField(required=False)
    bcc = RecipientsField(required=False)
    subject = forms.CharField(
        required=False,
        max_length=MAX_SUBJECT,
        error_messages={
            "max_length": f"Keep the subject under {MAX_SUBJECT} characters."
        },
    )
    note = WordsField(
        required=False,
        max_length=MAX_NOTE,
        error_messages={"max_length": f"Keep the note under {MAX_NOTE} characters."},
    )
    fingerprint = forms.RegexField(
        FINGERPRINT,
        error_messages={
            "invalid": "The page is too old to edit from. Open the message again."
        },
    )
    reference = forms.RegexField(
        r"\A[0-9A-Z]{10}\Z",
        error_messages=dict.fromkeys(
            ("required", "invalid"), "The page is too old to edit from. Open it again."
        ),
    )
    do = forms.ChoiceField(choices=[("send", "Send"), ("suggest", "Suggest")])

    def clean_markdown(self) -> str:
        """Refuse a text of blanks only, as MultiMail does."""
        text = str(self.cleaned_data["markdown"])
        if not text.strip():
            raise forms.ValidationError("The message needs a text.")
        return text

    def clean_subject(self) -> str:
        """Refuse line ends: in a header, another header could follow them."""
        subject = str(self.cleaned_data["subject"])
        if not subject.isprintable():
            raise forms.ValidationError(
                "The subject is one line, without control characters."
            )
        return subject

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if (
            cleaned.get("do") == "suggest"
            and not cleaned.get("note")
            and "note" not in self.errors
        ):
            self.add_error(
                "note",
                "Say what should change: the agent gets these words with your text.",
            )
        return cleaned

    def content(self) -> dict[str, Any]:
        """Return the fields of the corrected message."""
        return {name: self.cleaned_data[name] for name in EDITED}
