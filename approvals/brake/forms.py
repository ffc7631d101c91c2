"""What people fill in about caps, and when they reject a whole flood."""

from typing import Any

from django import forms

from approvals.brake.commands import MOST_CAP, Caps
from approvals.models.reviews import Kind
from common.forms import SentenceForm, WordsField

_WRONG = f"Enter a whole number up to {MOST_CAP:,}, or nothing for no cap."


_LABELS = {
    Kind.KEY: ("Of one API key", "All that one agent sends, in all mailboxes."),
    Kind.ALIKE: (
        "With the same text",
        "The same but for names, numbers, amounts, dates and addresses.",
    ),
    Kind.MAILBOX: ("From one mailbox", "All that is sent from one address."),
    Kind.RECIPIENT: ("To one recipient", "Whoever sends it."),
}


class CapsForm(SentenceForm):
    """Eight numbers, an hour and a day for each kind; empty and 0 are no cap."""

    def __init__(self, data: Any, caps: Caps) -> None:
        super().__init__(data)
        for kind in Kind:
            for window, number in zip(("hour", "day"), caps[kind], strict=True):
                self.fields[f"{kind}_{window}"] = forms.IntegerField(
                    label={"hour": "An hour", "day": "A day"}[window],
                    initial=number or None,
                    required=False,
                    min_value=0,
                    max_value=MOST_CAP,
                    error_messages=dict.fromkeys(
                        ("invalid", "min_value", "max_value"), _WRONG
                    ),
                )

    def rows(self) -> list[tuple[str, str, list[forms.BoundField]]]:
        """Return for each kind its name, a note and its two fields."""
        return [
            (*_LABELS[kind], [self[f"{kind}_hour"], self[f"{kind}_day"]])
            for kind in Kind
        ]

    def caps(self) -> dict[str, tuple[int, int]]:
        """Return the caps by kind: an hour, a day; 0 for none."""
        typed = self.cleaned_data
        return {
            str(kind): (typed[f"{kind}_hour"] or 0, typed[f"{kind}_day"] or 0)
            for kind in Kind
        }


class RejectAllForm(SentenceForm):
    """Why a whole flood is rejected; the agent reads it with each message."""

    reason = WordsField(
        max_length=1000,
        error_messages={
            "required": "Enter a reason: the agent reads it with each message.",
            "max_length": "Keep the reason under 1000 characters.",
        },
    )
